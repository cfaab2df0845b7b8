"""The tiny judge's network: a standard architecture, whose start already knows how to find a word again.

Guarantees: The saved folder is an ordinary Hugging Face causal language model.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

from miniature.judge.tokenizer import LONGEST

# The start of attention, chosen so that a copy scores about 14, the first token 10 and other tokens 0 +- 2.
_ROPE_THETA = 1_000_000.0
_FIRST, _WORD, _LOUD, _APART, _REST, _NEAR = 1, 0.4, 1.85, 2.8, 0.72, 3.3


@dataclass(frozen=True, slots=True)
class Size:
    hidden: int = 128
    layers: int = 3
    heads: int = 2
    kv_heads: int = 2
    feed_forward: int = 256


def build(size: Size, tokenizer: PreTrainedTokenizerFast, *, seed: int, tail_tokens: int) -> Qwen2ForCausalLM:
    """A fresh model for the tokenizer. `tail_tokens` is how much of the prompt follows the criterion."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=LONGEST,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    _know_matching(model, size, tail_tokens)
    return model


def _know_matching(model: Qwen2ForCausalLM, size: Size, tail_tokens: int) -> None:
    """Let the first heads begin with what judging is made of: look near, look for a copy, look back at the criterion.

    Judging is matching the criterion's words in the response. From a random start that takes many hundreds of steps to
    begin; from here only what a match means must be learned (mimetic initialisation, Trockman and Kolter 2023,
    arXiv:2305.09828, is the same idea). Rotary pairs that turn slowly do not see distance, pairs that turn fast see
    little else: contents are compared with the former, distances with the latter.
    """
    with torch.no_grad():
        for layer in model.model.layers:
            # Small contributions leave a token's own embedding the loudest part of its state.
            layer.self_attn.o_proj.weight.mul_(0.3)
            layer.mlp.down_proj.weight.mul_(0.3)
        near, matching, *later = (layer.self_attn for layer in model.model.layers)
        _look_near(near, size, range(1, 5))
        _look_for_a_copy(matching, model.model.embed_tokens.weight, size)
        for attention in later:
            # From where the answer stands, the criterion's last words are behind the question and the answer's opening.
            _look_near(attention, size, range(3, 8), distance=tail_tokens + 2)


def _look_near(attention: Qwen2Attention, size: Size, pairs: range, *, distance: int = 0) -> None:
    """The first head attends to the few tokens that are so far back: fewer with pairs that turn faster (lower
    numbers)."""
    head = size.hidden // size.heads
    for pair in pairs:
        angle = distance * _ROPE_THETA ** (-2 * pair / head)
        attention.k_proj.bias[pair] = _NEAR
        attention.q_proj.bias[pair] = _NEAR * math.cos(angle)
        attention.q_proj.bias[pair + head // 2] = -_NEAR * math.sin(angle)


def _look_for_a_copy(attention: Qwen2Attention, embeddings: torch.Tensor, size: Size) -> None:
    """The first head attends to earlier copies of its token, else to the sequence's first token, and says which.

    Queries equal keys, so a copy scores high; opposite biases in the fast pairs keep a token from finding itself; a
    fixed query finds the first token. What the head writes is one direction, as loud as the share of attention there.
    """
    head = size.hidden // size.heads
    slow = torch.nonzero(torch.arange(head) % (head // 2) >= 3 * head // 16)[:, 0]
    basis = torch.linalg.qr(torch.randn(size.hidden, len(slow))).Q
    embeddings.normal_(std=_WORD)
    inside = embeddings @ basis
    level = _WORD * len(slow) ** 0.5
    embeddings += (inside * (level / inside.norm(dim=1, keepdim=True)) - inside) @ basis.T
    first = embeddings[_FIRST] / embeddings[_FIRST].pow(2).mean().sqrt()
    keys = torch.zeros(head, size.hidden)
    keys[slow] = _LOUD * basis.T
    fast = torch.arange(head) < head // 8
    attention.k_proj.weight[:head] = keys
    attention.q_proj.weight[:head] = keys
    attention.k_proj.bias[:head] = -_APART * fast
    attention.q_proj.bias[:head] = _APART * fast + _REST * (keys @ first)
    attention.v_proj.weight[0] = first / size.hidden
    attention.o_proj.weight[:, 0] = _WORD * torch.randn(size.hidden)


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the standard folder. Each file is replaced in one step, the weights last: nobody reads half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    fresh = folder.with_name(folder.name + ".fresh")
    tokenizer.save_pretrained(fresh)
    model.save_pretrained(fresh)
    for file in sorted(fresh.iterdir(), key=lambda file: file.suffix == ".safetensors"):
        file.chmod(0o644)
        file.replace(folder / file.name)
    fresh.rmdir()

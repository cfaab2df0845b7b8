"""The tiny policy's start: its first heads know how to say again what stands in the prompt.

Following a scaffold is copying from it. From a random start that takes most of the training to begin; here a word's
spellings begin as one, and one pair of heads as the circuit that copies are made by (the induction head of Olsson et
al. 2022, arXiv:2209.11895): the first layer tells each token what stands before it, the second looks for what follows
an earlier copy of this token and says it. Training teaches what to copy, and when not to.

Guarantees: Only the start is set. Every weight is trained.
"""

from collections import defaultdict

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

ROPE_THETA = 10_000.0
_OWN, _NEAR, _MATCH, _WRITTEN, _QUIET = 0.3, 3.0, 1.5, 0.5, 0.3


def init_induction_heads(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    with torch.no_grad():
        _one_word_one_place(model.model.embed_tokens.weight, tokenizer)
        for layer in model.model.layers:
            # Small contributions leave a token's own embedding the loudest part of its state.
            layer.self_attn.o_proj.weight.mul_(_QUIET)
            layer.mlp.down_proj.weight.mul_(_QUIET)
        _induction(model)


def _one_word_one_place(embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """Tokens that differ in capitals and white space only begin nearly alike: a scaffold's " drink" is an answer's
    "Drink"."""
    spellings: dict[str, list[int]] = defaultdict(list)
    for token in range(len(tokenizer)):
        spellings[str(tokenizer.decode([token])).strip().lower()].append(token)
    for tokens in spellings.values():
        if len(tokens) > 1:
            own = embeddings[tokens]
            embeddings[tokens] = (own[:1] + _OWN * own) / (1 + _OWN**2) ** 0.5


def _induction(model: Qwen2ForCausalLM) -> None:
    """The first head of the first two layers. Rotary pair i turns by `turn[i]` a token: biases that are turned back by
    one token make a head look at the token before, whatever the tokens are."""
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    before, match = (layer.self_attn for layer in model.model.layers[:2])
    turn = ROPE_THETA ** (-torch.arange(0, head, 2) / head)
    loud = _NEAR * (torch.arange(head // 2) < head // 4)
    before.k_proj.bias[:head] = torch.cat([loud, torch.zeros(head // 2)])
    before.q_proj.bias[:head] = torch.cat([loud * turn.cos(), -loud * turn.sin()])
    before.q_proj.weight[:head] *= _QUIET
    before.k_proj.weight[:head] *= _QUIET
    read, told, said = (torch.linalg.qr(torch.randn(config.hidden_size, head)).Q for _ in range(3))
    before.v_proj.weight[:head] = _WRITTEN * read.T
    before.o_proj.weight[:, :head] = _QUIET * told
    match.k_proj.weight[:head] = _MATCH * told.T
    match.q_proj.weight[:head] = _MATCH * read.T
    match.v_proj.weight[:head] = _WRITTEN * said.T
    match.o_proj.weight[:, :head] = _WRITTEN * said

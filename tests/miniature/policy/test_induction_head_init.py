"""The policy's start: words that are alike, and heads that copy."""

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from miniature.judge.tokenizer import train_tokenizer
from miniature.policy.make import build
from tests.miniature.policy.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "policy"
Loaded = tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]


def test_spellings_of_a_word_begin_nearly_alike() -> None:
    tokenizer = train_tokenizer(vocabulary=1000, corpus=[text for one in EXAMPLES for text in (one.answer, str(one))])
    table = build(tokenizer, seed=0).model.embed_tokens.weight.detach()
    ids = [tokenizer.encode(word, add_special_tokens=False) for word in (" Drink", " drink", " ginger")]
    assert [len(one) for one in ids] == [1, 1, 1]
    same, other = (torch.cosine_similarity(table[ids[0][0]], table[one[0]], dim=0) for one in ids[1:])
    assert same > 0.85 > 0.4 > other


def test_it_begins_by_looking_at_the_token_before_and_at_what_followed_a_copy() -> None:
    """Sixty different tokens, then one of them again: an even look would give each a weight of 0.016."""
    tokenizer = train_tokenizer(vocabulary=1000, corpus=[text for one in EXAMPLES for text in (one.answer, str(one))])
    model = build(tokenizer, seed=0).eval()
    model.set_attn_implementation("eager")
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.stack([torch.randperm(600, generator=drawn)[:60] + 280 for _ in range(20)])
    rows, copied = torch.arange(20), torch.randint(1, 55, (20,), generator=drawn)
    with torch.inference_mode():
        ids = torch.cat([tokens, tokens[rows, copied][:, None]], dim=1)
        before, match = model(ids, output_attentions=True).attentions[:2]
    assert before[:, 0].diagonal(-1, 1, 2).mean() > 0.4
    assert match[rows, 0, -1, copied + 1].mean() > 0.06

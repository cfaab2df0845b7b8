import math

import pytest
import torch

from service.engine.base import Prompt
from service.engine.local import attention as module
from service.engine.local.attention import Unsupported, attend, attending, last_tokens, plain, whole
from service.engine.local.plan import Pass, plan

SCALE = 0.3


def tree() -> Pass:
    conversation = tuple(range(20))
    shared = [conversation + (n,) * (17 + n) for n in (30, 31)]
    prompts = [Prompt(one, (9,) * n) for one in shared for n in (1, 4, 7)] + [Prompt((), (5,) * 11)]
    (one,) = plan(prompts, range(len(prompts)), max_batch_tokens=1_000)
    return one


def tensors(n: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Queries, keys and values in the memory order in which transformers makes them."""
    torch.manual_seed(1)
    return [torch.randn(1, n, heads, 16).to(dtype).transpose(1, 2) for heads in (4, 2, 2)]


def masked(one: Pass) -> torch.Tensor:
    """Which token sees which, from the definition."""
    seen = torch.zeros(len(one.ids), len(one.ids), dtype=torch.bool)
    for piece in one.pieces:
        own = slice(piece.start, piece.end)
        seen[own, own] = torch.ones(len(piece), len(piece), dtype=torch.bool).tril()
        seen[piece.end : piece.last, own] = True
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tree_is_one_softmax_over_all_that_a_token_sees(dtype: torch.dtype) -> None:
    one = tree()
    query, key, value = tensors(len(one.ids), dtype)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=masked(one), scale=SCALE, enable_gqa=True
    )
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    found = whole(one.pieces, query, key, value, SCALE)
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)
    ends = [leaf.end - 1 for leaf in one.leaves]
    found = last_tokens(one, query[:, :, ends], key, value, SCALE)
    torch.testing.assert_close(found.float(), expected[:, :, ends], atol=tolerance, rtol=0)


def test_short_pieces_as_padded_rows_are_the_same() -> None:
    one = tree()
    query, key, value = tensors(len(one.ids))
    out, lse = torch.full_like(query, math.nan), torch.full(query.shape[:3], math.nan)
    module._padded(list(one.pieces), query, key, value, SCALE, out, lse)
    for piece in one.pieces:
        at = slice(piece.start, piece.end)
        expected, expected_lse = plain(query[:, :, at], key[:, :, at], value[:, :, at], SCALE, causal=True)
        torch.testing.assert_close(out[:, :, at], expected)
        torch.testing.assert_close(lse[:, :, at], expected_lse)


def test_last_tokens_of_short_leaves_in_one_call_are_the_same() -> None:
    one = tree()
    query, key, value = tensors(len(one.ids))
    ends = [leaf.end - 1 for leaf in one.leaves]
    out, lse = module._last_of_short(one.leaves, query[:, :, ends], key, value, SCALE)
    for row, leaf in enumerate(one.leaves):
        at, last = slice(leaf.start, leaf.end), slice(leaf.end - 1, leaf.end)
        expected, expected_lse = plain(query[:, :, last], key[:, :, at], value[:, :, at], SCALE)
        torch.testing.assert_close(out[:, :, row : row + 1], expected)
        torch.testing.assert_close(lse[:, :, row : row + 1], expected_lse)


@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_and_elementary_operations_agree(causal: bool) -> None:
    query, key, value = tensors(40)
    for found, expected in zip(
        attend(query, key, value, SCALE, causal), plain(query, key, value, SCALE, causal), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_keys_that_are_not_there_are_not_seen() -> None:
    query, key, value = tensors(9)
    seen = torch.tensor([[False, True, True, False, True, True, False, True, True]])
    found = plain(query, key, value, SCALE, seen=seen)
    expected = plain(query, key[:, :, seen[0]], value[:, :, seen[0]], SCALE)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize(
    "options", [{"softcap": 2.0}, {"s_aux": torch.zeros(4)}, {"sliding_window": 10}, {"is_causal": False}]
)
def test_attention_of_another_kind_is_refused(options: dict[str, object]) -> None:
    query, key, value = tensors(5)
    layer = torch.nn.Module()
    layer.layer_idx = 0  # type: ignore[assignment]
    with attending(lambda *given: given[1], longest=11), pytest.raises(Unsupported):
        module._attention(layer, query, key, value, None, SCALE, **options)
    with attending(lambda *given: given[1], longest=10):
        assert module._attention(layer, query, key, value, None, SCALE, sliding_window=10)[0].shape == (1, 5, 4, 16)
    with pytest.raises(Unsupported):
        module._attention(layer, query, key, value, None, SCALE)

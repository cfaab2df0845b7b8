import math

import pytest
import torch

from service.engine.base import Prompt
from service.engine.local.attention import (
    Unsupported,
    attend_last_of_short_leaves,
    attend_last_tokens,
    attend_short_nodes,
    attend_tree,
    eager_attention,
    fused_attention,
    registered_attention,
    use_attention,
)
from service.engine.local.plan import TreePass, plan_passes

SCALE = 0.3


def tree() -> TreePass:
    conversation = tuple(range(20))
    shared = [conversation + (n,) * (17 + n) for n in (30, 31)]
    prompts = [Prompt(one, (9,) * n) for one in shared for n in (1, 4, 7)] + [Prompt((), (5,) * 11)]
    (one,) = plan_passes(prompts, range(len(prompts)), max_batch_tokens=1_000)
    return one


def tensors(n: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Queries, keys and values in the memory order in which transformers makes them."""
    torch.manual_seed(1)
    return [torch.randn(1, n, heads, 16).to(dtype).transpose(1, 2) for heads in (4, 2, 2)]


def masked(one: TreePass) -> torch.Tensor:
    """Which token sees which, from the definition."""
    seen = torch.zeros(len(one.ids), len(one.ids), dtype=torch.bool)
    for node in one.nodes:
        own = slice(node.start, node.end)
        seen[own, own] = torch.ones(len(node), len(node), dtype=torch.bool).tril()
        seen[node.end : node.last, own] = True
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tree_is_one_softmax_over_all_that_a_token_sees(dtype: torch.dtype) -> None:
    one = tree()
    query, key, value = tensors(len(one.ids), dtype)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=masked(one), scale=SCALE, enable_gqa=True
    )
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    found = attend_tree(one.nodes, query, key, value, SCALE)
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)
    ends = [leaf.end - 1 for leaf in one.leaves]
    found = attend_last_tokens(one, query[:, :, ends], key, value, SCALE)
    torch.testing.assert_close(found.float(), expected[:, :, ends], atol=tolerance, rtol=0)


def test_short_pieces_as_padded_rows_are_the_same() -> None:
    one = tree()
    query, key, value = tensors(len(one.ids))
    out, lse = torch.full_like(query, math.nan), torch.full(query.shape[:3], math.nan)
    attend_short_nodes(list(one.nodes), query, key, value, SCALE, out, lse)
    for node in one.nodes:
        at = slice(node.start, node.end)
        expected, expected_lse = eager_attention(query[:, :, at], key[:, :, at], value[:, :, at], SCALE, causal=True)
        torch.testing.assert_close(out[:, :, at], expected)
        torch.testing.assert_close(lse[:, :, at], expected_lse)


def test_last_tokens_of_short_leaves_in_one_call_are_the_same() -> None:
    one = tree()
    query, key, value = tensors(len(one.ids))
    ends = [leaf.end - 1 for leaf in one.leaves]
    out, lse = attend_last_of_short_leaves(one.leaves, query[:, :, ends], key, value, SCALE)
    for row, leaf in enumerate(one.leaves):
        at, last = slice(leaf.start, leaf.end), slice(leaf.end - 1, leaf.end)
        expected, expected_lse = eager_attention(query[:, :, last], key[:, :, at], value[:, :, at], SCALE)
        torch.testing.assert_close(out[:, :, row : row + 1], expected)
        torch.testing.assert_close(lse[:, :, row : row + 1], expected_lse)


@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_and_elementary_operations_agree(causal: bool) -> None:
    query, key, value = tensors(40)
    for found, expected in zip(
        fused_attention(query, key, value, SCALE, causal),
        eager_attention(query, key, value, SCALE, causal),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_keys_that_are_not_there_are_not_seen() -> None:
    query, key, value = tensors(9)
    seen = torch.tensor([[False, True, True, False, True, True, False, True, True]])
    found = eager_attention(query, key, value, SCALE, seen=seen)
    expected = eager_attention(query, key[:, :, seen[0]], value[:, :, seen[0]], SCALE)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize(
    "options", [{"softcap": 2.0}, {"s_aux": torch.zeros(4)}, {"sliding_window": 10}, {"is_causal": False}]
)
def test_attention_of_another_kind_is_refused(options: dict[str, object]) -> None:
    query, key, value = tensors(5)
    layer = torch.nn.Module()
    layer.layer_idx = 0  # type: ignore[assignment]
    with use_attention(lambda *given: given[1], max_model_len=11), pytest.raises(Unsupported):
        registered_attention(layer, query, key, value, None, SCALE, **options)
    with use_attention(lambda *given: given[1], max_model_len=10):
        assert registered_attention(layer, query, key, value, None, SCALE, sliding_window=10)[0].shape == (1, 5, 4, 16)
    with pytest.raises(Unsupported):
        registered_attention(layer, query, key, value, None, SCALE)

"""Computes attention over a prefix tree: the keys and values of every node exist once, whoever continues it.

A token attends to its own node up to itself, and to all nodes on the way to the root. Each of these is an attention
call of its own. The queries of everything below a node are one long query without a mask. Two such partial results are
merged by the log-sum-exp of their scores into what one softmax over all keys would have given, as in cascade attention.

Guarantees: what transformers asks for beyond plain causal attention (a window shorter than the prompts, soft-capping,
sinks, a mask) raises Unsupported and is not ignored. Nothing here knows a model's architecture.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from transformers import AttentionInterface

from service.engine.local.plan import Node, TreePass

NAME = "rubricd_tree"
# On a GPU a call costs more than the padding of short nodes; on a CPU it is the other way round.
_SHORT_NODE_TOKENS = 256

# Of (layer, query, key, value, scale) the output, each tensor (1, heads, tokens, head size).
AttentionFunction = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
# The output over some of the keys, (rows, heads, queries, head size), and the log-sum-exp of their scores, float32.
PartialAttention = tuple[torch.Tensor, torch.Tensor]


class Unsupported(Exception):
    """The model's attention is not plain causal attention."""


class _ThreadState(threading.local):
    """The function that the calling thread computes attention by. transformers hands no argument of ours to a layer."""

    attend: AttentionFunction | None = None
    max_model_len: int = 0


_current = _ThreadState()


@contextmanager
def use_attention(attend: AttentionFunction, max_model_len: int) -> Iterator[None]:
    """Lets models that this thread calls inside the block compute their attention by `attend`.

    `max_model_len` is the longest prompt in tokens, answer included: a sliding window of that size masks nothing.
    """
    _current.attend, _current.max_model_len = attend, max_model_len
    try:
        yield
    finally:
        _current.attend = None


def registered_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Computes the attention of one layer for transformers, or raises Unsupported.

    Shapes as transformers has them: (1, heads, tokens, head size) in, (1, tokens, heads, head size) out.
    """
    window = options.get("sliding_window")
    special = [name for name in ("softcap", "s_aux", "position_bias", "cache") if options.get(name) is not None]
    if _current.attend is None or attention_mask is not None or special or options.get("is_causal") is False:
        raise Unsupported(f"attention with {', '.join(special) or 'a mask'}")
    if window is not None and window < _current.max_model_len:
        raise Unsupported("attention in a window")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: Any = module.layer_idx
    return _current.attend(layer, query, key, value, scale).transpose(1, 2), None


AttentionInterface.register(NAME, registered_attention)


def attend_tree(
    nodes: tuple[Node, ...], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of every token of a pass: (1, heads, tokens, head size), as the query."""
    out = torch.empty_like(query)
    lse = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
    batched = [] if query.device.type == "cpu" else [node for node in nodes if len(node) <= _SHORT_NODE_TOKENS]
    for node in nodes:
        if not batched or len(node) > _SHORT_NODE_TOKENS:
            at = slice(node.start, node.end)
            out[:, :, at], lse[:, :, at] = fused_attention(
                query[:, :, at], key[:, :, at], value[:, :, at], scale, causal=True
            )
    if batched:
        attend_short_nodes(batched, query, key, value, scale, out, lse)
    # Everything below a node sees all of it, so the second step needs no mask.
    for node in nodes:
        if node.last > node.end:
            below = slice(node.end, node.last)
            at = slice(node.start, node.end)
            part = fused_attention(query[:, :, below], key[:, :, at], value[:, :, at], scale, causal=False)
            merge_partial(out[:, :, below], lse[:, :, below], part)
    return out


def attend_last_tokens(
    tree_pass: TreePass, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of each row's last token: query (1, heads, rows, head size), keys and values of the whole pass."""
    if query.device.type != "cpu" and max(map(len, tree_pass.leaves)) <= _SHORT_NODE_TOKENS:
        part = attend_last_of_short_leaves(tree_pass.leaves, query, key, value, scale)
        out, lse = part[0].contiguous(), part[1].contiguous()
        merge_shared_nodes(tree_pass.shared_nodes, query, key, value, scale, out, lse)
        return out
    out = torch.empty_like(query)
    lse = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
    for row, leaf in enumerate(tree_pass.leaves):
        at = slice(leaf.start, leaf.end)
        here = slice(row, row + 1)
        out[:, :, here], lse[:, :, here] = fused_attention(query[:, :, here], key[:, :, at], value[:, :, at], scale)
    merge_shared_nodes(tree_pass.shared_nodes, query, key, value, scale, out, lse)
    return out


def merge_shared_nodes(
    shared: tuple[Node, ...],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    out: torch.Tensor,
    lse: torch.Tensor,
) -> None:
    """Merges the attention of one query a row over the shared nodes into `out` and `lse`, in place."""
    for node in shared:
        rows, at = slice(node.first_row, node.last_row), slice(node.start, node.end)
        part = fused_attention(query[:, :, rows], key[:, :, at], value[:, :, at], scale)
        merge_partial(out[:, :, rows], lse[:, :, rows], part)


def merge_partial(out: torch.Tensor, lse: torch.Tensor, part: PartialAttention) -> None:
    """Turns `out` over some keys, given `part` over others, into the attention over both, in place."""
    more, more_lse = part
    weight = torch.sigmoid(more_lse - lse).unsqueeze(-1)
    # In half precision a merge per node would round each time: the interpolation is computed in float32.
    if out.dtype == torch.float32:
        out.lerp_(more, weight)
    else:
        out.copy_(torch.lerp(out.float(), more.float(), weight))
    torch.logaddexp(lse, more_lse, out=lse) if lse.is_contiguous() else lse.copy_(torch.logaddexp(lse, more_lse))


def fused_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, causal: bool = False
) -> PartialAttention:
    """Attention by torch's fused kernel of the device, with the log-sum-exp of the scores, (rows, heads, queries).

    `scaled_dot_product_attention` runs the same operators, but does not return the log-sum-exp.
    """
    if query.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, scale=scale
        )
        return out, lse
    half = query.dtype in (torch.float16, torch.bfloat16)
    if query.device.type == "cuda" and half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 256:
        found = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scale)
        return found[0], found[1][..., : query.shape[2]]
    if query.device.type == "cuda":
        # This kernel knows no grouped-query attention.
        group = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(group, dim=1) for tensor in (key, value))
        found = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, True, 0.0, causal, scale=scale
        )
        return found[0], found[1][..., : query.shape[2]]
    return eager_attention(query, key, value, scale, causal)


def eager_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool = False,
    seen: torch.Tensor | None = None,
) -> PartialAttention:
    """The same as `fused_attention` in elementary operations. `seen` (rows, keys) says which keys exist, None: all."""
    rows, heads, n, size = query.shape
    folded = query.reshape(rows, key.shape[1], -1, size)
    scores = (folded @ key.transpose(-1, -2)).float() * scale
    scores = scores.reshape(rows, heads, n, -1)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    if seen is not None:
        scores = scores.masked_fill(~seen[:, None, None, :], -torch.inf)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp().to(value.dtype)
    out = weights.reshape(rows, key.shape[1], -1, scores.shape[-1]) @ value
    return out.reshape(rows, heads, n, size), lse


def attend_short_nodes(
    nodes: list[Node],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    out: torch.Tensor,
    lse: torch.Tensor,
) -> None:
    """Computes short nodes as rows of one call, into `out` and `lse`.

    Rows are padded on the right, where causal attention does not look.
    """
    tokens, _, places, real = _padded_indexes(tuple(nodes), query.device)
    rows = [tensor[0].transpose(0, 1)[tokens].transpose(1, 2) for tensor in (query, key, value)]
    part, part_lse = fused_attention(rows[0], rows[1], rows[2], scale, causal=True)
    out[0].transpose(0, 1)[places] = part.transpose(1, 2).flatten(0, 1)[real]
    lse[0].transpose(0, 1)[places] = part_lse.transpose(1, 2).flatten(0, 1)[real]


def attend_last_of_short_leaves(
    leaves: tuple[Node, ...], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> PartialAttention:
    """Attention of each row's last token over its leaf, as one call: (1, heads, rows, head size)."""
    tokens, seen, _, _ = _padded_indexes(leaves, query.device)
    keys, values = (tensor[0].transpose(0, 1)[tokens].transpose(1, 2) for tensor in (key, value))
    part, part_lse = eager_attention(query[0].transpose(0, 1).unsqueeze(2), keys, values, scale, seen=seen)
    return part.squeeze(2).transpose(0, 1).unsqueeze(0), part_lse.squeeze(2).transpose(0, 1).unsqueeze(0)


@lru_cache(maxsize=2)
def _padded_indexes(
    nodes: tuple[Node, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indexes of each node's tokens, padded, (nodes, longest), and which of them are real; then the real indexes
    alone, and their places in the padded ones.

    Remembered for the next layer: a GPU would wait for each of these to be copied to it.
    """
    longest = max(map(len, nodes))
    starts, ends = (torch.tensor([[getattr(node, end)] for node in nodes]) for end in ("start", "end"))
    tokens = starts + torch.arange(longest)
    seen = tokens < ends
    tokens = torch.where(seen, tokens, starts)
    return tokens.to(device), seen.to(device), tokens[seen].to(device), seen.flatten().nonzero()[:, 0].to(device)

"""Attention over a tree of pieces: every piece's keys and values exist once, whoever follows on them.

A token sees its own piece up to itself, and all pieces on the way to the root. Each of these is an attention call of
its own; the queries of everything below a piece are one long query, without a mask. Two such results are merged by
their log-sum-exp into what one softmax over all keys would have given.

Always true: what transformers asks for beyond plain causal attention (a window shorter than the prompts, soft-capping,
sinks, a mask) is refused, never ignored. Nothing here knows a model's architecture.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from transformers import AttentionInterface

from service.engine.local.plan import Pass, Piece

NAME = "rubricd_tree"
# On a GPU a call costs more than the padding of short pieces; on a CPU it is the other way round.
_SHORT = 256

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
Partial = tuple[torch.Tensor, torch.Tensor]


class Unsupported(Exception):
    """The model's attention is not the plain causal one."""


class _Now(threading.local):
    attend: Attend | None = None
    longest: int = 0
    layers: int = 0


_now = _Now()


@contextmanager
def attending(attend: Attend, longest: int) -> Iterator[None]:
    """Models that are called in here, by this thread, attend so. `longest` is the longest prompt, answer included."""
    _now.attend, _now.longest = attend, longest
    try:
        yield
    finally:
        _now.attend = None


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes as transformers has them: (1, heads, tokens, head size) in, (1, tokens, heads, head size) out."""
    window = options.get("sliding_window")
    special = [name for name in ("softcap", "s_aux", "position_bias", "cache") if options.get(name) is not None]
    if _now.attend is None or attention_mask is not None or special or options.get("is_causal") is False:
        raise Unsupported(f"attention with {', '.join(special) or 'a mask'}")
    if window is not None and window < _now.longest:
        raise Unsupported("attention in a window")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: Any = module.layer_idx
    return _now.attend(layer, query, key, value, scale).transpose(1, 2), None


AttentionInterface.register(NAME, _attention)


def whole(pieces: tuple[Piece, ...], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> Any:
    """Every token of a pass: (1, heads, tokens, head size) like the query."""
    out = torch.empty_like(query)
    lse = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
    batched = [] if query.device.type == "cpu" else [piece for piece in pieces if len(piece) <= _SHORT]
    for piece in pieces:
        if not batched or len(piece) > _SHORT:
            at = slice(piece.start, piece.end)
            out[:, :, at], lse[:, :, at] = attend(query[:, :, at], key[:, :, at], value[:, :, at], scale, causal=True)
    if batched:
        _padded(batched, query, key, value, scale, out, lse)
    for piece in pieces:
        if piece.last > piece.end:
            below = slice(piece.end, piece.last)
            at = slice(piece.start, piece.end)
            part = attend(query[:, :, below], key[:, :, at], value[:, :, at], scale, causal=False)
            merge(out[:, :, below], lse[:, :, below], part)
    return out


def last_tokens(one: Pass, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """The last token of each row: query (1, heads, rows, head size), keys and values of the whole pass."""
    if query.device.type != "cpu" and max(map(len, one.leaves)) <= _SHORT:
        part = _last_of_short(one.leaves, query, key, value, scale)
        out, lse = part[0].contiguous(), part[1].contiguous()
        above(one.shared, query, key, value, scale, out, lse)
        return out
    out = torch.empty_like(query)
    lse = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
    for row, leaf in enumerate(one.leaves):
        at = slice(leaf.start, leaf.end)
        here = slice(row, row + 1)
        out[:, :, here], lse[:, :, here] = attend(query[:, :, here], key[:, :, at], value[:, :, at], scale)
    above(one.shared, query, key, value, scale, out, lse)
    return out


def above(
    shared: tuple[Piece, ...],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    out: torch.Tensor,
    lse: torch.Tensor,
) -> None:
    """Merge what one query a row sees of the shared pieces into `out` and `lse`."""
    for piece in shared:
        rows, at = slice(piece.first_row, piece.last_row), slice(piece.start, piece.end)
        merge(out[:, :, rows], lse[:, :, rows], attend(query[:, :, rows], key[:, :, at], value[:, :, at], scale))


def merge(out: torch.Tensor, lse: torch.Tensor, part: Partial) -> None:
    """Make of `out` over some keys and `part` over others the attention over both, in place."""
    more, more_lse = part
    weight = torch.sigmoid(more_lse - lse).unsqueeze(-1)
    if out.dtype == torch.float32:
        out.lerp_(more, weight)
    else:
        out.copy_(torch.lerp(out.float(), more.float(), weight))
    torch.logaddexp(lse, more_lse, out=lse) if lse.is_contiguous() else lse.copy_(torch.logaddexp(lse, more_lse))


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, causal: bool = False) -> Partial:
    """(rows, heads, queries, head size) and the log-sum-exp of the scores, (rows, heads, queries), in float32."""
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
        group = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(group, dim=1) for one in (key, value))
        found = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, True, 0.0, causal, scale=scale
        )
        return found[0], found[1][..., : query.shape[2]]
    return plain(query, key, value, scale, causal)


def plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool = False,
    seen: torch.Tensor | None = None,
) -> Partial:
    """The same in elementary operations. `seen` (rows, keys) says which keys exist."""
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


def _padded(
    pieces: list[Piece],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    out: torch.Tensor,
    lse: torch.Tensor,
) -> None:
    """Short pieces as rows of one call, padded on the right, where causal attention does not look."""
    tokens, _, places, real = _short_rows(tuple(pieces), query.device)
    rows = [one[0].transpose(0, 1)[tokens].transpose(1, 2) for one in (query, key, value)]
    part, part_lse = attend(rows[0], rows[1], rows[2], scale, causal=True)
    out[0].transpose(0, 1)[places] = part.transpose(1, 2).flatten(0, 1)[real]
    lse[0].transpose(0, 1)[places] = part_lse.transpose(1, 2).flatten(0, 1)[real]


def _last_of_short(
    leaves: tuple[Piece, ...], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> Partial:
    """What each row's last token sees of its leaf, as one call: (1, heads, rows, head size)."""
    tokens, seen, _, _ = _short_rows(leaves, query.device)
    keys, values = (one[0].transpose(0, 1)[tokens].transpose(1, 2) for one in (key, value))
    part, part_lse = plain(query[0].transpose(0, 1).unsqueeze(2), keys, values, scale, seen=seen)
    return part.squeeze(2).transpose(0, 1).unsqueeze(0), part_lse.squeeze(2).transpose(0, 1).unsqueeze(0)


@lru_cache(maxsize=2)
def _short_rows(
    pieces: tuple[Piece, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens of each piece (pieces, longest) and which are real; then the real ones alone, and where they are there.

    Remembered for the next layer: a GPU would wait for each of these to be copied to it.
    """
    longest = max(map(len, pieces))
    starts, ends = (torch.tensor([[getattr(piece, end)] for piece in pieces]) for end in ("start", "end"))
    tokens = starts + torch.arange(longest)
    seen = tokens < ends
    tokens = torch.where(seen, tokens, starts)
    return tokens.to(device), seen.to(device), tokens[seen].to(device), seen.flatten().nonzero()[:, 0].to(device)

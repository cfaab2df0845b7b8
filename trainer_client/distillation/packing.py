"""Packs prompts into rows: what prompts share is computed once, and each sees its own prefix and nothing else. Pure.

A row is a tree of three levels: a head that all of its items begin with, the rest of each item's shared part, and each
criterion's own part. The service's engines compute the same trees.

Guarantees: a prompt's tokens see the prompt's earlier tokens, at their positions, and no others, so that a row computes
what each prompt alone would give. Every example is in exactly one row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

import numpy as np

from trainer_client.distillation.examples import Example

ROW_TOKENS = 1024
"""A row takes items up to so many tokens; one that is longer stands alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """L tokens with the places of K last tokens. `ids`, `positions`, `item` and `criterion` are (L,): the number of a
    token's item and of its criterion, from 1; 0 where it belongs to several. `ends` is (K,)."""

    examples: tuple[Example, ...]
    ids: np.ndarray
    positions: np.ndarray
    item: np.ndarray
    criterion: np.ndarray
    ends: np.ndarray

    def mask(self) -> np.ndarray:
        """(L, L) bool: which token (the row) sees which (the column)."""
        same_item = (self.item[None, :] == 0) | (self.item[None, :] == self.item[:, None])
        same_criterion = (self.criterion[None, :] == 0) | (self.criterion[None, :] == self.criterion[:, None])
        mask: np.ndarray = same_item & same_criterion & np.tri(len(self.ids), dtype=bool)
        return mask


def rows(examples: Sequence[Example], *, packed: bool = True, seed: int | None = None) -> list[Row]:
    """All examples in rows, in order, or in a random order of items. `packed=False` gives each a row of its own, for
    models that cannot be shown a tree."""
    items = [tuple(some) for _, some in groupby(examples, key=lambda one: one.item)]
    if not packed:
        items = [(one,) for one in examples]
    if seed is not None:
        Random(seed).shuffle(items)
    if not packed:
        return [_row([one]) for one in items]
    return [_row(some) for some in _filled(items)]


def _filled(items: Sequence[tuple[Example, ...]]) -> Iterator[list[tuple[Example, ...]]]:
    """Items row by row, as they come."""
    row: list[tuple[Example, ...]] = []
    tokens = 0
    for item in (part for one in items for part in _parts(one)):
        size = len(item[0].shared) + sum(len(one.own) for one in item)
        if row and tokens + size > ROW_TOKENS:
            yield row
            row, tokens = [], 0
        row.append(item)
        tokens += size
    if row:
        yield row


def _parts(item: tuple[Example, ...]) -> Iterator[tuple[Example, ...]]:
    """The item, or where it alone has more tokens than a row, its criteria in several parts."""
    part: list[Example] = []
    tokens = len(item[0].shared)
    for one in item:
        if part and tokens + len(one.own) > ROW_TOKENS:
            yield tuple(part)
            part, tokens = [], len(item[0].shared)
        part.append(one)
        tokens += len(one.own)
    yield tuple(part)


def _row(items: Sequence[tuple[Example, ...]]) -> Row:
    head = _common([item[0].shared for item in items])
    ids, positions = [items[0][0].shared[:head]], [range(head)]
    item_numbers, criterion_numbers, ends = [[0] * head], [[0] * head], []
    length = head
    for number, item in enumerate(items, 1):
        shared = item[0].shared
        parts = [(shared[head:], head, 0), *((one.own, len(shared), place) for place, one in enumerate(item, 1))]
        for part, start, place in parts:
            ids.append(part)
            positions.append(range(start, start + len(part)))
            item_numbers.append([number] * len(part))
            criterion_numbers.append([place] * len(part))
            length += len(part)
            if place:
                ends.append(length - 1)
    return Row(
        examples=tuple(one for item in items for one in item),
        ids=_joined(ids),
        positions=_joined(positions),
        item=_joined(item_numbers),
        criterion=_joined(criterion_numbers),
        ends=np.array(ends),
    )


def _joined(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])


def _common(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all of them begin with; one alone is its own head."""
    first, last = min(sequences), max(sequences)
    pairs = zip(first, last, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last)))

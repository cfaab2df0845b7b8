"""Builds pairs by rule: a good response against the same response after a perturbation.

Where a row has no response, one is written from its rubric: the text of every wanted criterion, one after the other.

Guarantees: the same rows, kinds and seed give the same pairs. What cannot be built is counted by its reason.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.formats import table
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError
from trainer_client.data.responses import COLUMNS
from trainer_client.errors import DataError
from trainer_client.perturbation.responses import Material, ResponseKind, worsened
from trainer_client.preferences.pairs import PreferencePair


@dataclass(frozen=True, slots=True)
class Good:
    """A response that is taken to be good."""

    group: str
    item: wire.Item
    response: str
    written: bool


@dataclass(frozen=True, slots=True)
class Built:
    """`left_out` counts what could not be built, by reason; `written` the responses that were made from a rubric."""

    pairs: tuple[PreferencePair, ...]
    left_out: Mapping[str, int]
    written: int


def build_pairs(paths: Sequence[str | Path], kinds: Sequence[ResponseKind], *, seed: int, law: Law) -> Built:
    """Raises DataError at the first row that cannot be read, or where nothing can be built."""
    good = list(_good(paths, law))
    left_out: Counter[str] = Counter()
    pairs: list[PreferencePair] = []
    for one in good:
        if not one.response.strip():
            left_out["an empty response"] += 1
            continue
        material = Material(_faults(one.item), [other.response for other in good if other.group != one.group])
        for kind in kinds:
            worse = worsened(one.response, kind, material, seed=seed, name=one.group)
            if worse is None:
                left_out[f"nothing to do for `{kind}`"] += 1
                continue
            item = one.item
            pairs.append(
                PreferencePair(
                    f"{one.group}/{kind}",
                    one.group,
                    kind,
                    item.prompt,
                    one.response,
                    worse,
                    item.rubric,
                    item.reference,
                    item.documents,
                )
            )
    if not pairs:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(f"{', '.join(map(str, paths))}: no pair can be built ({why or 'it is empty'})")
    return Built(tuple(pairs), dict(left_out), sum(one.written for one in good))


def _good(paths: Sequence[str | Path], law: Law) -> Iterator[Good]:
    with contextlib.closing(sources.rows(paths)) as rows:
        for index, (place, raw) in enumerate(rows):
            try:
                yield from _of_row(raw, index, law)
            except RowError as error:
                raise DataError(f"{place}: {error}") from None


def _of_row(raw: Any, index: int, law: Law) -> Iterator[Good]:
    row = table.unpacked(raw)
    if law.response_column is None and all(row.get(name) is None for name in COLUMNS):
        item = reader.for_training(raw, law).item
        if item.rubric is None:
            raise RowError("neither a response nor a rubric to write one from; add `response`")
        yield Good(item.id or str(index), item, written_from(item.rubric), written=True)
        return
    item = reader.to_score(raw, law).item
    responses = [item.response] if item.responses is None else item.responses
    for name, response in zip(item.result_ids(index), responses, strict=True):
        if not isinstance(response, str):
            raise RowError("a trajectory cannot be perturbed; give responses that are texts")
        yield Good(name, item, response, written=False)


def written_from(rubric: wire.Rubric) -> str:
    """A response that says what each wanted criterion is about, in its words."""
    return "\n".join(one.judged_text.strip() for one in rubric.criteria if one.worth > 0)


def _faults(item: wire.Item) -> list[str]:
    return [] if item.rubric is None else [one.judged_text.strip() for one in item.rubric.criteria if one.worth < 0]

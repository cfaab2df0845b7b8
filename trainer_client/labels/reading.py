"""Reads files of labelled rows, of any kind of file and any format of rows that `rubricd score` reads.

Guarantees: no row is skipped. At the first row that cannot be read the reading stops with the file, the line or row,
the field, what is there and what to write. A criterion without a label has the label None.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.labels import words
from trainer_client.labels.labelled import LabelledItem, Labels, Word, digest, labels_digest, majority
from trainer_client.labels.words import Spoken

_SHOWN_IDS = 5
L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class _Row:
    """One response with its labels, before all annotators are known."""

    item: wire.Item
    spoken: Mapping[str, Spoken]
    group: str
    levels: Mapping[str, int]


def read_labels(paths: Sequence[str], *, law: Law = LENIENT) -> Labels:
    """The labelled rows of files, folders or standard input (`-`). Raises DataError."""
    rows = list(_rows(paths, law))
    names: dict[str, None] = {}
    for row in rows:
        for spoken in row.spoken.values():
            if isinstance(spoken, Mapping):
                names.update(dict.fromkeys(spoken))
    annotators = tuple(names)
    items = tuple(_labelled(row, annotators) for row in rows)
    labels = Labels(items, annotators, labels_digest(items, annotators))
    if not labels.labelled and not labels.graded:
        raise DataError(f"{', '.join(map(str, paths))}: no criterion has a label; write true or false in `met`")
    return labels


def _rows(paths: Sequence[str], law: Law) -> Iterator[_Row]:
    found = sources.rows(paths)
    with contextlib.closing(found):
        for place, raw in found:
            try:
                yield from _responses(raw, law)
            except RowError as error:
                raise DataError(f"{place}: {error}") from None


def _responses(raw: object, law: Law) -> Iterator[_Row]:
    """The responses of a row, each with its labels."""
    taken = words.take(raw)
    item = reader.to_score(taken.row, law).item
    if item.rubric is None:
        raise RowError("no `rubric`; labels belong to criteria")
    ids = list(item.rubric.ids())
    responses = [item.response] if item.responses is None else item.responses
    for name, labels in (("level", taken.levels), ("met", taken.labels)):
        if len(labels) != len(responses) and (labels or name == "met"):
            raise RowError(
                f"labels for {len(labels)} responses, and there are {len(responses)}; write `{name}` as a list with an "
                "object for each response"
            )
    criteria = [one.model_copy(update={"id": id}) for one, id in zip(item.rubric.criteria, ids, strict=True)]
    rubric = item.rubric.model_copy(update={"criteria": criteria})
    group = item.group or taken.group or digest(item.model_dump(mode="json")["prompt"])[:16]
    levels = taken.levels or ({},) * len(responses)
    for response, spoken, graded in zip(responses, taken.labels, levels, strict=True):
        own = item.model_copy(update={"response": response, "responses": None, "rubric": rubric, "group": None})
        by_id = _by_id(graded, ids, "level")
        _check_levels(by_id, rubric)
        yield _Row(own, _by_id(spoken, ids), group, by_id)


def _check_levels(levels: Mapping[str, int], rubric: wire.Rubric) -> None:
    for criterion in rubric.criteria:
        level = levels.get(criterion.id or "")
        if level is None or level < len(criterion.options):
            continue
        has = f"has {len(criterion.options)}, from 0" if criterion.options else "is met or not"
        raise RowError(f"`level` of criterion {criterion.id!r} is {level}, and that criterion {has}")


def _by_id(spoken: Mapping[str | int, L], ids: Sequence[str], name: str = "met") -> dict[str, L]:
    """Labels by criterion id; where they stood in the criteria they come by index."""
    named = {ids[key] if isinstance(key, int) else key: value for key, value in spoken.items()}
    unknown = [id for id in named if id not in ids]
    if unknown:
        there = ", ".join(map(repr, ids[:_SHOWN_IDS])) + (", …" if len(ids) > _SHOWN_IDS else "")
        raise RowError(
            f"`{name}` names the criterion {unknown[0]!r}, which the rubric does not have; its ids are {there}"
        )
    return named


def _labelled(row: _Row, annotators: Sequence[str]) -> LabelledItem:
    met: dict[str, Word] = {}
    spoken_by: dict[str, tuple[Word, ...]] = {}
    for criterion in row.item.rubric.criteria if row.item.rubric else ():
        id = criterion.id or ""
        spoken = row.spoken.get(id)
        if isinstance(spoken, Mapping):
            spoken_by[id] = tuple(spoken.get(name) for name in annotators)
            met[id] = majority(spoken.values())
        else:
            met[id] = spoken
    return LabelledItem(row.item, met, spoken_by, row.group, row.levels)

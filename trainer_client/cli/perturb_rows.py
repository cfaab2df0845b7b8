"""Reads rows for `rubricd perturb`, and writes worsened rubrics into them.

Guarantees: a row keeps its format and everything but its rubric; the column `perturbation` says what was done. A row is
read again after it was changed, and what is read is the worsened rubric, or the row is refused.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from trainer_client import wire
from trainer_client.data import raw_rubrics, reader
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.data.records import Raw, RowError
from trainer_client.errors import DataError
from trainer_client.perturbation.rubrics import Perturbed

COLUMN = "perturbation"
_POINTS_APART = 1e-9


@dataclass(frozen=True, slots=True)
class Source:
    """A row as its file holds it, with its rubric. `name` is its id, or its number among all rows."""

    place: str
    raw: Raw
    name: str
    rubric: wire.Rubric


def read_rows(files: Sequence[str], law: Law) -> list[Source]:
    """Raises DataError for a row that cannot be read or has no rubric."""
    found = []
    for index, (place, raw) in enumerate(sources.rows(files)):
        item = _item(raw, law, place)
        if item.rubric is None:
            raise DataError(f"{place}: no `rubric` to perturb; give the row one, or leave it out")
        found.append(Source(place, raw, item.id or str(index), item.rubric))
    if not found:
        raise DataError(f"{', '.join(files)}: holds no rows")
    return found


def row_of(source: Source, after: Perturbed, told: Mapping[str, Any]) -> Raw:
    """The row with the worsened rubric and with what was done. Raises DataError."""
    first = next((raw for raw in _lists(source.raw) if len(raw) == len(source.rubric.criteria)), [])
    # A row is in its own form only where each of its criteria stands there as an object.
    made = [
        _raw(one, None if origin is None or not first else first[origin], first)
        for one, origin in zip(after.rubric.criteria, after.origins, strict=True)
    ]
    if first:
        size = len(first)
        row = raw_rubrics.with_criteria(source.raw, lambda own: deepcopy(made) if len(own) == size else own)
    else:
        row = {**source.raw, "rubric": made}
    row = {**row, COLUMN: dict(told)}
    _check(source, row, after.rubric)
    return dict(row)


def _lists(raw: Raw) -> list[list[Raw]]:
    found: list[list[Raw]] = []

    def keep(criteria: list[Raw]) -> list[Raw]:
        found.append(criteria)
        return criteria

    raw_rubrics.with_criteria(raw, keep)
    return found


def _raw(one: wire.Criterion, was: Raw | None, siblings: Sequence[Raw]) -> Raw:
    """The criterion in the form of the row's others."""
    model = was if was is not None else (siblings[0] if siblings else {"text": "", "points": 1})
    text, points = raw_rubrics.text_name(model) or "text", raw_rubrics.points_name(model) or "points"
    made = deepcopy(was) if was is not None else _new(one, model)
    made[text] = one.text
    if was is None or not isinstance(was[points], int | float) or abs(was[points] - one.points) > _POINTS_APART:
        made[points] = int(one.points) if float(one.points).is_integer() else one.points
    if one.polarity is not None:
        made["polarity"] = one.polarity
    elif "polarity" in made:
        del made["polarity"]
    return made


def _new(one: wire.Criterion, model: Raw) -> Raw:
    """What a criterion that was added has besides its text and its points."""
    made: Raw = {} if one.id is None else {"id": one.id}
    if "title" in model:
        made["title"] = one.tags.get("title", "Added Criterion")
    tags = {name: value for name, value in one.tags.items() if name != "title"}
    if one.category is not None and wire.Criterion(text=one.text, points=1).category is not None:
        tags.pop("category", None)  # the text says it
    if isinstance(model.get("tags"), list):
        made["tags"] = [f"{name}:{value}" for name, value in tags.items()]
    elif tags or isinstance(model.get("tags"), dict):
        made["tags"] = tags
    if one.verifier is not None and one.tags.get("verifier") != "rule":
        made["verifier"] = one.verifier.model_dump(mode="json", by_alias=True, exclude_none=True)
    return made


def _check(source: Source, row: Raw, wanted: wire.Rubric) -> None:
    found = _item(row, Law(pitfalls="met_is_bad"), source.place).rubric
    if found is None or list(map(_meaning, found.criteria)) != list(map(_meaning, wanted.criteria)):
        raise DataError(
            f"{source.place}: the worsened rubric cannot be written in this row's format; write the row as "
            '{"prompt": …, "rubric": [{"text": …, "points": …}]}'
        )


def _meaning(one: wire.Criterion) -> tuple[str, float, wire.Category | None, wire.Verifier | None]:
    return one.text, round(one.worth, 6), one.category, one.verifier


def _item(raw: Any, law: Law, place: str) -> wire.Item:
    try:
        return reader.for_training(raw, law).item
    except RowError as error:
        raise DataError(f"{place}: {error}") from None

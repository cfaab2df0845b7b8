"""Takes the labels off a row: `met` and `level` beside the item or in its criteria, or HealthBench's physicians' words.

Guarantees: what is left of the row is a row of a format that `rubricd score` reads. A label is true, false or null, or
an annotator's such word, and of a graded criterion the place of its level; anything else is refused with its place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client.data.records import Raw, RowError, decoded_if_json, mapping, place, shown
from trainer_client.labels.labelled import Word, digest

Spoken = Word | Mapping[str, Word]
"""One label, or each annotator's word by name."""
ByResponse = tuple[Mapping[str | int, Spoken], ...]
"""For each response of a row: the labels by criterion id, or by the criterion's index."""
LevelsByResponse = tuple[Mapping[str | int, int], ...]
"""For each response of a row: the place of the level of a graded criterion, in the same way."""

_RUBRICS = ("rubric", "rubrics")
_LABELS = ("met", "level")
_WANTED = "true, false, null, a list with each annotator's word, or an object of words by annotator"
_PHYSICIANS = "binary_labels"


@dataclass(frozen=True, slots=True)
class Taken:
    """The row without its labels, and these: `levels` is empty where there are none of graded criteria. `group` names
    the row's prompt, where the row does."""

    row: Raw
    labels: ByResponse
    group: str | None
    levels: LevelsByResponse = ()


def take(raw: Any) -> Taken:
    """Raises RowError."""
    if not isinstance(raw, dict):
        raise RowError(f"not an object but {shown(raw)}; write {{item, met}}, or an item whose criteria have `met`")
    if _PHYSICIANS in raw:
        return _healthbench(raw)
    names = _names(raw.get("annotators"))
    row = {key: value for key, value in raw.items() if key not in (*_LABELS, "annotators")}
    row, inner, at = _taken_from_criteria(row)
    group = _text(raw.get("prompt_id"))
    for name in _LABELS:
        if name in raw and inner[name]:
            raise RowError(f"labels in `{name}` and in `{at}`; keep one of them")
    if not (inner["met"] or inner["level"] or raw.keys() & set(_LABELS)):
        raise RowError("no labels; add `met`, an object of true or false by criterion id, or give each criterion `met`")
    words: ByResponse = ({i: _spoken(value, names, f"{at}[{i}].met") for i, value in inner["met"].items()},)
    levels: LevelsByResponse = ({i: _level(value, f"{at}[{i}].level") for i, value in inner["level"].items()},)
    if "level" in raw:
        levels = tuple(
            {id: _level(value, place(where, id)) for id, value in one.items() if value is not None}
            for where, one in _objects(raw["level"], "level", "the place of the level")
        )
    if "met" in raw:
        words = tuple(
            {id: _spoken(value, names, place(where, id)) for id, value in one.items()}
            for where, one in _objects(raw["met"], "met", "true or false")
        )
    if "met" not in raw and "level" in raw:
        words = ({},) * len(levels)
    return Taken(row, words, group, levels if any(levels) else ())


def _objects(labels: Any, name: str, what: str) -> Iterator[tuple[str, Raw]]:
    """The labels of each response with their place: `labels` is an object, or a list of objects."""
    labels = decoded_if_json(labels)
    for number, one in enumerate(labels if isinstance(labels, list) else [labels]):
        at = f"{name}[{number}]" if isinstance(labels, list) else name
        if not isinstance(one, dict):
            raise RowError(f"`{at}` is {shown(one)}; write an object of {what} by criterion id")
        yield at, one


def _level(value: Any, at: str) -> int:
    if type(value) is not int or value < 0:
        raise RowError(f"`{at}` is {shown(value)}; write the place of the level or choice, from 0")
    return value


def _spoken(value: Any, names: Sequence[str] | None, at: str) -> Spoken:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {str(name): _word(word, f"{at}.{name}") for name, word in value.items()}
    if not isinstance(value, list):
        raise RowError(f"`{at}` is {shown(value)}; write {_WANTED}")
    own = names if names is not None else [str(number) for number in range(len(value))]
    if len(own) != len(value):
        raise RowError(f"`{at}` has {len(value)} words and `annotators` {len(own)} names; write a word for each name")
    return {name: _word(word, f"{at}[{number}]") for number, (name, word) in enumerate(zip(own, value, strict=True))}


def _word(value: Any, at: str) -> Word:
    if value is None or isinstance(value, bool):
        return value
    raise RowError(f"`{at}` is {shown(value)}; write true, false, or null for an abstention")


def _names(value: Any) -> Sequence[str] | None:
    value = decoded_if_json(value)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str | int) for name in value):
        raise RowError(f"`annotators` is {shown(value)}; write a list of names")
    if len(set(map(str, value))) != len(value):
        raise RowError("`annotators` has one name twice; write distinct names")
    return [str(name) for name in value]


def _taken_from_criteria(row: Raw) -> tuple[Raw, Mapping[str, Mapping[int, Any]], str]:
    """The row whose criteria have no labels, the labels of each name by the criterion's index, and the rubric's
    place."""
    for outer in ("", "item", "reward_model"):
        holder = row if not outer else mapping(decoded_if_json(row.get(outer)))
        for name in _RUBRICS:
            rubric = decoded_if_json(holder.get(name))
            criteria = rubric.get("criteria") if isinstance(rubric, dict) else rubric
            if not isinstance(criteria, list):
                continue
            objects = [(n, one) for n, one in enumerate(criteria) if isinstance(one, dict)]
            found = {label: {n: one[label] for n, one in objects if label in one} for label in _LABELS}
            if not any(found.values()):
                continue
            bare = [_without_labels(one) for one in criteria]
            changed = {**holder, name: {**rubric, "criteria": bare} if isinstance(rubric, dict) else bare}
            levels = {n: value for n, value in found["level"].items() if value is not None}
            at = place(*filter(None, (outer, name)))
            return ({**row, outer: changed} if outer else changed), {**found, "level": levels}, at
    return row, {label: {} for label in _LABELS}, ""


def _without_labels(one: Any) -> Any:
    return {key: value for key, value in one.items() if key not in _LABELS} if isinstance(one, dict) else one


def _healthbench(raw: Raw) -> Taken:
    """A row of HealthBench's meta-evaluation: one criterion, `rubric`, whose points are not published. They are 1."""
    text, labels = raw.get("rubric"), decoded_if_json(raw[_PHYSICIANS])
    if not isinstance(text, str):
        raise RowError(f"`rubric` is {shown(text)}; beside `{_PHYSICIANS}` it is the text of one criterion")
    if not isinstance(labels, list):
        raise RowError(f"`{_PHYSICIANS}` is {shown(labels)}; write a list of true or false, one a physician")
    names = _names(raw.get("anonymized_physician_ids"))
    id = digest(text)[:16]
    category = raw.get("category")
    tags = {"category_of_meta_evaluation": str(category)} if category is not None else {}
    kept = ("prompt", "completion", "response")
    row = {name: raw[name] for name in kept if name in raw}
    row["rubric"] = [{"id": id, "text": text, "points": 1, "tags": tags}]
    words: dict[str | int, Spoken] = {id: _spoken(labels, names, _PHYSICIANS)}
    return Taken(row, (words,), _text(raw.get("prompt_id")))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

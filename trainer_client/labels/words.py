"""Takes the labels off a row: `met` beside the item or in its criteria, or HealthBench's labels of physicians.

Guarantees: what is left of the row is a row of a format that `rubricd score` reads. A label is true, false or null, or
an annotator's such word; anything else is refused with its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client.data.records import Raw, RowError, decoded_if_json, mapping, place, shown
from trainer_client.labels.labelled import Word, digest

Spoken = Word | Mapping[str, Word]
"""One label, or each annotator's word by name."""
ByResponse = tuple[Mapping[str | int, Spoken], ...]
"""For each response of a row: the labels by criterion id, or by the criterion's index."""

_RUBRICS = ("rubric", "rubrics")
_WANTED = "true, false, null, a list with each annotator's word, or an object of words by annotator"
_PHYSICIANS = "binary_labels"


@dataclass(frozen=True, slots=True)
class Taken:
    """The row without its labels, and these. `group` names the row's prompt, where the row does."""

    row: Raw
    labels: ByResponse
    group: str | None


def take(raw: Any) -> Taken:
    """Raises RowError."""
    if not isinstance(raw, dict):
        raise RowError(f"not an object but {shown(raw)}; write {{item, met}}, or an item whose criteria have `met`")
    if _PHYSICIANS in raw:
        return _healthbench(raw)
    names = _names(raw.get("annotators"))
    row = {key: value for key, value in raw.items() if key not in ("met", "annotators")}
    row, inner, at = _taken_from_criteria(row)
    group = raw.get("prompt_id")
    if "met" in raw and inner:
        raise RowError(f"labels in `met` and in `{at}`; keep one of them")
    if "met" in raw:
        return Taken(row, _by_response(decoded_if_json(raw["met"]), names), _text(group))
    if not inner:
        raise RowError("no labels; add `met`, an object of true or false by criterion id, or give each criterion `met`")
    words: dict[str | int, Spoken] = {
        index: _spoken(value, names, f"{at}[{index}].met") for index, value in inner.items()
    }
    return Taken(row, (words,), _text(group))


def _by_response(met: Any, names: Sequence[str] | None) -> ByResponse:
    """An object, or a list of objects, one a response."""
    several = met if isinstance(met, list) else [met]
    found = []
    for number, one in enumerate(several):
        at = "met" if several is not met else f"met[{number}]"
        if not isinstance(one, dict):
            raise RowError(f"`{at}` is {shown(one)}; write an object of true or false by criterion id")
        found.append({id: _spoken(value, names, place(at, id)) for id, value in one.items()})
    return tuple(found)


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


def _taken_from_criteria(row: Raw) -> tuple[Raw, dict[int, Any], str]:
    """The row whose criteria have no `met`, the labels by the criterion's index, and the rubric's place."""
    for outer in ("", "item", "reward_model"):
        holder = row if not outer else mapping(decoded_if_json(row.get(outer)))
        for name in _RUBRICS:
            rubric = decoded_if_json(holder.get(name))
            criteria = rubric.get("criteria") if isinstance(rubric, dict) else rubric
            if not isinstance(criteria, list):
                continue
            found = {n: one["met"] for n, one in enumerate(criteria) if isinstance(one, dict) and "met" in one}
            if not found:
                continue
            bare = [_without_met(one) for one in criteria]
            changed = {**holder, name: {**rubric, "criteria": bare} if isinstance(rubric, dict) else bare}
            return ({**row, outer: changed} if outer else changed), found, place(*filter(None, (outer, name)))
    return row, {}, ""


def _without_met(one: Any) -> Any:
    return {key: value for key, value in one.items() if key != "met"} if isinstance(one, dict) else one


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

"""Reads a rubric that a person pasted: JSON in any shape that the readers know, or lines of points and text. Pure.

Guarantees: points come from the text and are never guessed. A line that names none belongs to the criterion above it,
which a note says where the line is not indented; a text whose first line names none is refused. Of several rows the
first is read, which a note says.
"""

import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from trainer_client import wire
from trainer_client.data import reader, refusals
from trainer_client.data.formats import table, task
from trainer_client.data.raw_rubrics import points_name, text_name
from trainer_client.data.records import Raw, RowError

LINES = "lines of points and text"
_OWN = "rubricd"
_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)\n\s*```\s*\Z", re.DOTALL)
_JSON = re.compile(r"\A\s*(?:\{|\[\s*[\[{\"]|\[\s*\])")
_NUMBER = r"(?P<sign>[+\-\u2212\u2013]?)\s?(?P<size>\d+(?:\.\d+)?|\.\d+)\s*(?:points?|pts?\.?)?"
_BULLET = r"(?:[-*\u2022]\s+|\d+\)\s+)?"
_TEXT = r"(?:\*\*)?\s*[:;,|]?\s*(?P<text>[^\s:;,|].*)$"
_FIRST = [
    re.compile(rf"^{_BULLET}(?:\|\s*)?(?:\*\*)?{points}{_TEXT}", re.IGNORECASE)
    for points in (rf"\[\s*{_NUMBER}\s*\]", rf"\(\s*{_NUMBER}\s*\)", rf"{_NUMBER}(?=\s|[*:;,|])")
]
_LAST = re.compile(rf"^{_BULLET}(?P<text>\S.*?)\s*[\[(]\s*{_NUMBER}\s*[\])]\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pasted:
    """`item` has the rubric, and the conversation, the responses and the reference where the text has them."""

    format: str
    item: wire.Item
    has_prompt: bool = False
    notes: tuple[str, ...] = field(default=())


def read(text: str, pitfalls: wire.Pitfalls | None = None) -> Pasted:
    """Raises RowError with a sentence."""
    fenced = _FENCE.match(text)
    text = (fenced[1] if fenced else text).removeprefix("\ufeff")
    if not text.strip():
        raise RowError("there is no text; paste a rubric")
    found = _of_json(*_first_document(text), pitfalls) if _JSON.match(text) else _of_lines(text, pitfalls)
    if found.item.rubric is None:
        raise RowError("there is no rubric in this text; paste criteria with their points")
    if not found.item.rubric.criteria:
        raise RowError("this names a stored rubric by its `ref`; paste its criteria")
    return found


# JSON.


def _first_document(text: str) -> tuple[Any, tuple[str, ...]]:
    """The JSON document, or the first of a file with one a line. Raises RowError."""
    try:
        return wire.read_json(text), ()
    except wire.JsonFault as fault:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            first = wire.read_json(lines[0])
        except wire.JsonFault:
            raise RowError(f"this is {fault}") from None
        return first, (f"these are {len(lines)} rows, of which the first was read",)


def _of_json(found: Any, notes: tuple[str, ...], pitfalls: wire.Pitfalls | None) -> Pasted:
    if isinstance(found, dict) and isinstance(found.get("items"), list) and found["items"]:
        return _of_json(found["items"][0], (*notes, "this is a request; its first item was read"), pitfalls)
    if isinstance(found, list) and found and all(isinstance(one, dict) and _is_row(one) for one in found):
        notes = (*notes, f"these are {len(found)} rows, of which the first was read") if len(found) > 1 else notes
        return _of_json(found[0], notes, pitfalls)
    if isinstance(found, dict) and _is_row(found):
        return _of_row(found, notes, pitfalls)
    if isinstance(found, dict) and text_name(found) and points_name(found):
        found = [found]
    if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
        return replace(_of_lines("\n".join(found), pitfalls), notes=notes)
    for name in ("rubric", "rubrics", "criteria"):
        found = found[name] if isinstance(found, dict) and found.get(name) else found
    return Pasted(_OWN, _item(task.rubric(found, "rubric"), pitfalls), notes=notes)


def _is_row(found: Raw) -> bool:
    return any(found.get(name) is not None for name in table.CONVERSATIONS) or "reward_model" in found


def _of_row(row: Raw, notes: tuple[str, ...], pitfalls: wire.Pitfalls | None) -> Pasted:
    said: list[str] = []
    law = reader.Law(pitfalls=pitfalls, say=said.append)
    form = table.format_of(table.unpacked(row))
    try:
        one = reader.to_score(row, law).item
    except RowError:
        one = reader.for_training(row, law).item.model_copy(update={"response": None})
    if one.documents:
        said.append("the row's `documents` are not taken along, and verdicts without them may be others")
    return Pasted(form.name, one, has_prompt=True, notes=(*notes, *said))


def _item(criteria: Any, pitfalls: wire.Pitfalls | None) -> wire.Item:
    one = refusals.item({"prompt": "", "response": "", "rubric": criteria}, {})
    if one.rubric is None:
        return one
    rubric = task.category_of(reader.signed(one.rubric, pitfalls, "rubric"))
    return one.model_copy(update={"rubric": rubric, "response": None})


# Lines.


def _of_lines(text: str, pitfalls: wire.Pitfalls | None) -> Pasted:
    criteria: list[Raw] = []
    notes: list[str] = []
    for number, line in _spoken(text):
        first = None if line[0].isspace() and criteria else _points_and_text(line)
        if first is not None:
            criteria.append(first)
        elif criteria:
            criteria[-1]["text"] += f"\n{line.strip()}"
            if not line[0].isspace():
                notes.append(f"line {number} names no points and was read as part of the criterion above it")
        else:
            raise RowError(
                f"line {number} names no points; write them before the text, as in `5 Names a doctor.`, `-3: Guesses.` "
                "or `[2] Is short.`"
            )
    return Pasted(LINES, _item(criteria, pitfalls), notes=tuple(notes))


def _spoken(text: str) -> Iterable[tuple[int, str]]:
    """The lines with their numbers; headings, rules of tables and blank lines are none."""
    for number, line in enumerate(textwrap.dedent(text.replace("\t", "    ")).splitlines(), start=1):
        plain = line.rstrip()
        if plain and not plain.startswith("#") and not re.fullmatch(r"[\s|:=\-]+", plain):
            yield number, plain


def _points_and_text(line: str) -> Raw | None:
    plain = line.strip()
    found = next(filter(None, (form.match(plain) for form in (*_FIRST, _LAST))), None)
    return None if found is None else _criterion(found["sign"], found["size"], found["text"])


def _criterion(sign: str, size: str, text: str) -> Raw:
    points: float = json.loads(size) if re.fullmatch(r"0|[1-9]\d*", size) else float(size)
    return {"text": text.strip().strip("|").strip(), "points": -points if sign and sign != "+" else points}

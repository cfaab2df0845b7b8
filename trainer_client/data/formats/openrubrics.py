"""Reads rows of OpenRubrics: `instruction`, a `rubric` that is a numbered list in one text, and two responses.

Guarantees: each entry of the list is a criterion with 1 point, because the format has no points; `[Hard Rule]` and
`[Principle]` at its end become the tag `kind`.
"""

import re
from typing import Any

from trainer_client.data.formats.task import Format, Task, conversation, identity, rubric
from trainer_client.data.records import Raw, RowError, decoded_if_json, shown

_ENTRY = re.compile(r"^\s*(\d+)[.)]\s+", re.MULTILINE)
_KIND = re.compile(r"\s*\[([A-Za-z ]+)\]\s*$")


def read(row: Raw) -> Task:
    pair = [row[name] for name in ("response_a", "response_b") if row.get(name) is not None]
    return Task(
        prompt=conversation(row["instruction"]),
        rubric=_criteria(decoded_if_json(row["rubric"])),
        id=identity(row.get("id")),
        responses={"responses": pair} if len(pair) == 2 else None,
        used=("instruction", "rubric", "response_a", "response_b", "id"),
    )


def _criteria(value: Any) -> Any:
    if not isinstance(value, str):
        return rubric(value, "rubric")
    starts = list(_ENTRY.finditer(value))
    if [int(start[1]) for start in starts] != list(range(1, len(starts) + 1)) or not starts:
        raise RowError(f"`rubric` is {shown(value)}; write a list numbered 1., 2., ..., or a list of {{text, points}}")
    ends = [start.start() for start in starts[1:]] + [len(value)]
    return [_criterion(value[start.end() : end]) for start, end in zip(starts, ends, strict=True)]


def _criterion(entry: str) -> Raw:
    kind = _KIND.search(entry)
    if kind is None:
        return {"text": entry.strip(), "points": 1}
    return {"text": entry[: kind.start()].strip(), "points": 1, "tags": {"kind": kind[1].strip().lower()}}


FORMAT = Format("OpenRubrics", ("instruction", "rubric"), read, {"prompt": "instruction"})

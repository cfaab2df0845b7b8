"""Reads rows of open-instruct and DR Tulu: `messages`, and the rubric in `ground_truth`, mostly as JSON text."""

from typing import Any

from trainer_client.data.formats.task import Format, Task, conversation, identity, rubric
from trainer_client.data.records import Raw, RowError, decoded, mapping, shown


def read(row: Raw) -> Task:
    truth: Any = row["ground_truth"]
    if isinstance(truth, list) and len(truth) == 1:
        (truth,) = truth
    truth = mapping(decoded(truth, "ground_truth"))
    named = [name for name in ("rubrics", "rubric") if truth.get(name)]
    if len(named) != 1:
        raise RowError(
            f"`ground_truth` is {shown(row['ground_truth'])} and must hold one rubric; give it as JSON text: "
            '{"rubrics": [{"description": "...", "weight": 1}]}'
        )
    return Task(
        prompt=conversation(row["messages"]),
        rubric=rubric(truth[named[0]], f"ground_truth.{named[0]}"),
        id=identity(row.get("id")),
        used=("messages", "ground_truth", "id"),
    )


FORMAT = Format(
    "open-instruct, DR Tulu",
    ("messages", "ground_truth"),
    read,
    {"prompt": "messages", "rubric": "ground_truth.rubrics"},
)

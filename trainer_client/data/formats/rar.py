"""Reads rows of Rubrics as Rewards: `question`, `rubric` and `reference_answer`."""

from trainer_client.data.formats.task import Format, Task, conversation, identity, reference, rubric
from trainer_client.data.records import Raw


def read(row: Raw) -> Task:
    return Task(
        prompt=conversation(row["question"]),
        rubric=rubric(row["rubric"], "rubric"),
        reference=reference(row.get("reference_answer")),
        id=identity(row.get("id")),
        used=("question", "rubric", "reference_answer", "id"),
    )


FORMAT = Format(
    "Rubrics as Rewards",
    ("question", "rubric"),
    read,
    {"prompt": "question", "reference": "reference_answer"},
)

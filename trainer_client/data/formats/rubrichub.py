"""Reads rows of RubricHub: `question` and `rubrics`, whose tags are an object."""

from trainer_client.data.formats.task import Format, Task, conversation, identity, reference, rubric
from trainer_client.data.records import Raw


def read(row: Raw) -> Task:
    return Task(
        prompt=conversation(row["question"]),
        rubric=rubric(row["rubrics"], "rubrics"),
        reference=reference(row.get("reference_answer")),
        id=identity(row.get("id")),
        used=("question", "rubrics", "reference_answer", "id"),
    )


FORMAT = Format("RubricHub", ("question", "rubrics"), read, {"prompt": "question", "rubric": "rubrics"})

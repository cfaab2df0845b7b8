"""Reads rows as HealthBench publishes them: `prompt` and `rubrics`. Its other columns are metadata."""

from trainer_client.data.formats.task import Format, Task, conversation, identity, rubric
from trainer_client.data.records import Raw


def read(row: Raw) -> Task:
    return Task(
        prompt=conversation(row["prompt"]),
        rubric=rubric(row["rubrics"], "rubrics"),
        reference=row.get("reference"),
        id=identity(row.get("id")),
        used=("prompt", "rubrics", "reference", "id"),
    )


FORMAT = Format("HealthBench", ("prompt", "rubrics"), read, {"rubric": "rubrics"})

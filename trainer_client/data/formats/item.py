"""Reads items of `POST /v1/score`."""

from trainer_client.data.formats.task import Format, Task, conversation, documents, identity, rubric
from trainer_client.data.records import Raw, mapping


def read(row: Raw) -> Task:
    return Task(
        prompt=conversation(row.get("prompt")),
        rubric=rubric(row.get("rubric"), "rubric"),
        reference=row.get("reference"),
        documents=documents(row.get("documents")),
        id=identity(row.get("id")),
        group=identity(row.get("group")),
        metadata=mapping(row.get("metadata")),
        used=("prompt", "rubric", "reference", "documents", "id", "group", "metadata"),
    )


FORMAT = Format("item of POST /v1/score", ("prompt",), read)

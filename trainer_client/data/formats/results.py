"""Reads results files of `rubricd score`: each line holds the item that it is the result of, to score again."""

from trainer_client.data.formats import item
from trainer_client.data.formats.task import Format, Task, identity
from trainer_client.data.records import Raw, RowError, mapping

_RESULT = (
    "index",
    "id",
    "status",
    "score",
    "score_bounds",
    "coverage",
    "criteria",
    "rating",
    "warnings",
    "judge",
    "attempts",
    "digest",
    "error",
    "metadata",
    "item",
)


def read(row: Raw) -> Task:
    if not isinstance(row.get("item"), dict):
        raise RowError(
            "a result without its `item`, as older versions wrote them; score the file that it was made from"
        )
    own = item.read(row["item"])
    return Task(
        prompt=own.prompt,
        rubric=own.rubric,
        reference=own.reference,
        documents=own.documents,
        id=identity(row["id"]),
        group=own.group,
        responses={"response": row["item"].get("response")},
        metadata=mapping(row.get("metadata")),
        used=_RESULT,
    )


FORMAT = Format(
    "results of rubricd score", ("index", "id", "digest"), read, {"prompt": "item.prompt", "rubric": "item.rubric"}
)

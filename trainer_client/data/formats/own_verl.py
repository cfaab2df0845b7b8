"""Reads the rows that `trainer_client.verl.rows.to_parquet` writes: `extra_info.row` holds the whole row as JSON."""

from trainer_client.data.formats.task import Format, Task, conversation, identity, rubric
from trainer_client.data.records import Raw, decoded, mapping


def read(row: Raw) -> Task:
    kept = mapping(decoded(row["extra_info"]["row"], "extra_info.row"))
    return Task(
        prompt=conversation(kept.get("messages")),
        rubric=rubric(kept.get("rubric"), "extra_info.row.rubric"),
        reference=kept.get("reference"),
        documents=kept.get("documents"),
        id=identity(kept.get("id")),
        used=("prompt", "reward_model", "extra_info", "agent_name"),
    )


FORMAT = Format("verl rows of rubricd", ("extra_info.row",), read, {"prompt": "extra_info.row.messages"})

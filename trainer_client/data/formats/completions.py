"""Reads the completions tables of a training: the prompt holds its row, so that every rollout can be scored again."""

from trainer_client.data.formats.task import Format, Task, conversation, identity, rubric
from trainer_client.data.records import Raw, RowError, decoded, mapping

# Every verdict with its reasons: more than metadata may hold.
_LONG = ("verdicts", "examiner/verdicts")


def read(row: Raw) -> Task:
    turns = conversation(row["prompt"])
    last = mapping(turns[-1]) if isinstance(turns, list) and turns else {}
    kept = mapping(decoded(last.get("row"), "prompt"))
    if "rubric" not in kept:
        raise RowError(
            "`prompt` does not hold its row, as `rubricd train` writes it; score the file that was trained on"
        )
    group = f"{row['step']}/{kept['id']}" if "step" in row else None
    return Task(
        prompt=[{key: value for key, value in turn.items() if key != "row"} for turn in turns],
        rubric=rubric(kept["rubric"], "rubric"),
        reference=kept.get("reference"),
        documents=kept.get("documents"),
        group=identity(group),
        used=("prompt", "completion", *_LONG),
        responses={"response": row["completion"]},
    )


FORMAT = Format("completions of a training", ("prompt", "completion", "row", "advantage"), read)

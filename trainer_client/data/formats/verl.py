"""Reads rows of verl and RuscaRL: the rubric is in `reward_model`, or in the copy of it in `extra_info`.

Guarantees: where both are there, `reward_model` is used.
"""

from trainer_client.data.formats.task import Format, Task, conversation, held, identity, reference, rubric
from trainer_client.data.records import Raw, RowError, decoded, mapping


def read(row: Raw) -> Task:
    extra = mapping(decoded(row.get("extra_info"), "extra_info"))
    own, copied = decoded(row.get("reward_model"), "reward_model"), decoded(extra.get("reward_model"), "extra_info")
    model = next((one for one in (mapping(own), mapping(copied)) if held(one, "rubrics")), None)
    if model is None:
        raise RowError("`reward_model.rubrics` is missing or empty; give a list of {criterion, points, tags}")
    rest = {key: value for key, value in extra.items() if key not in ("prompt", "reward_model", "id")}
    return Task(
        prompt=conversation(row.get("prompt", extra.get("prompt"))),
        rubric=rubric(model["rubrics"], "reward_model.rubrics"),
        reference=reference(model.get("ground_truth")),
        id=identity(row.get("id", extra.get("id"))),
        metadata={"extra_info": rest} if rest else {},
        used=("prompt", "reward_model", "extra_info", "id"),
    )


NAMES = {"rubric": "reward_model.rubrics", "reference": "reward_model.ground_truth", "id": "extra_info.id"}
FORMAT = Format("RuscaRL, verl", ("reward_model",), read, NAMES)
COPY = Format("RuscaRL, verl", ("extra_info.reward_model",), read, NAMES)

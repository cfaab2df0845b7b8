"""Decides which format a row has, by one table of the columns that name each format.

Guarantees: a row is read by exactly one format. A row with rubrics in two places is refused, not guessed, and so is one
that no format names. A row with `prompt` is read by it; where another column of a conversation is there too, that is
said.
"""

from typing import Any

from trainer_client.data.formats import (
    completions,
    healthbench,
    ifeval,
    item,
    open_instruct,
    openrubrics,
    own_verl,
    rar,
    results,
    rollouts,
    rubrichub,
    verl,
)
from trainer_client.data.formats.task import Format, held
from trainer_client.data.records import Raw, RowError, decoded_if_json, mapping, shown

FORMATS: tuple[Format, ...] = (
    # what trainings and rubricd write
    results.FORMAT,  #       index, id, digest
    completions.FORMAT,  #   prompt, completion, row, advantage
    own_verl.FORMAT,  #      extra_info.row
    rollouts.FORMAT,  #      input, output, step
    # the rubric has a place of its own
    verl.FORMAT,  #          reward_model
    verl.COPY,  #            extra_info.reward_model
    healthbench.FORMAT,  #   prompt, rubrics
    rubrichub.FORMAT,  #     question, rubrics
    open_instruct.FORMAT,  # messages, ground_truth
    openrubrics.FORMAT,  #   instruction, rubric
    rar.FORMAT,  #           question, rubric
    ifeval.FORMAT,  #        prompt, instruction_id_list
    item.FORMAT,  #          prompt
)
"""From the most specific to the most general; the first whose columns all hold something reads the row."""

# fmt: off
TRAINING_COLUMNS = frozenset(
    (
        "prompt", "question", "messages", "instruction",
        "rubric", "rubrics", "ground_truth", "reward_model", "extra_info",
        "reference", "reference_answer", "documents", "id", "instruction_id_list", "kwargs", "key",
        "data_source", "question_source", "dataset",
        "index", "digest", "item", "items", "row", "advantage", "completion", "step", "input", "output",
    )
)
# fmt: on
"""All columns that a format reads for a training; of files with columns, others are not read for it."""
CONVERSATIONS = ("prompt", "question", "messages", "instruction")
"""Columns that hold the conversation before the response, the first wins."""
_RUBRICS = ("rubric", "rubrics", "reward_model.rubrics")
"""Places of a rubric, of which a row may have one."""
_NESTED = ("reward_model", "extra_info", "metadata")
_OWN = (results.FORMAT, completions.FORMAT, own_verl.FORMAT, rollouts.FORMAT)


def unpacked(row: Any) -> Raw:
    """The row, with nested columns that stand there as JSON text. Raises RowError for what is no row."""
    if not isinstance(row, dict):
        raise RowError(f"not an object but {shown(row)}; {known()}")
    if isinstance(row.get("item"), dict) and "digest" not in row:
        row = {**{name: value for name, value in row.items() if name != "item"}, **row["item"]}
    if "items" in row:
        raise RowError("a whole request; write each of its `items` on a line of its own")
    nested = {name: decoded_if_json(row[name]) for name in _NESTED if isinstance(row.get(name), str)}
    extra = mapping(nested.get("extra_info", row.get("extra_info")))
    if isinstance(extra.get("reward_model"), str):
        nested["extra_info"] = {**extra, "reward_model": decoded_if_json(extra["reward_model"])}
    return {**row, **nested} if nested else row


def format_of(row: Raw) -> Format:
    """The format that reads this unpacked row. Raises RowError where none does, or where it is ambiguous."""
    other = set(other_conversations(row))
    found = next((one for one in FORMATS if not other & set(one.columns) and _has(row, one.columns)), None)
    if found is None:
        raise RowError(_nothing(row))
    if found not in _OWN:
        rubrics = [place for place in _RUBRICS if held(row, place)]
        if len(rubrics) > 1:
            raise RowError(f"rubrics in `{rubrics[0]}` and in `{rubrics[1]}`; keep one of them")
        if found in (verl.FORMAT, verl.COPY) and rubrics and rubrics[0] != "reward_model.rubrics":
            return healthbench.FORMAT if rubrics[0] == "rubrics" else item.FORMAT
    return found


def other_conversations(row: Raw) -> list[str]:
    """The columns of a conversation that are not read, because `prompt` is."""
    return [name for name in CONVERSATIONS[1:] if row.get("prompt") is not None and held(row, name)]


def has_rubric(row: Raw) -> bool:
    own = (results.FORMAT, completions.FORMAT, own_verl.FORMAT, verl.COPY, open_instruct.FORMAT, ifeval.FORMAT)
    return any(held(row, name) for name in _RUBRICS) or any(_has(row, one.columns) for one in own)


def _has(row: Raw, columns: tuple[str, ...]) -> bool:
    """A conversation may be empty; what else names a format must hold something."""
    return all(row.get(name) is not None if name in CONVERSATIONS else held(row, name) for name in columns)


def _nothing(row: Raw) -> str:
    columns = ", ".join(f"`{name}`" for name in list(row)[:12])
    turns = next((name for name in CONVERSATIONS if row.get(name) is not None), None)
    rubric = next((name for name in _RUBRICS if held(row, name)), None)
    if turns and rubric:
        return f"`{turns}` and `{rubric}` are in no format together; name the conversation `prompt`; {known()}"
    return f"no `{'rubric' if turns else 'prompt'}`; its columns are {columns or 'none'}; {known()}"


def known() -> str:
    names = dict.fromkeys(one.about for one in FORMATS if one not in (*_OWN, verl.COPY))
    return f"a row must be in one of these formats: {'; '.join(reversed(names))}"

"""Puts a row into its prompt and reads it back: TRL gives a rollout function its prompts and nothing else.

Guarantees: a prompt holds the row that it was made from, or the one that its data set's columns make up. Neither policy
nor judge sees the row in the prompt.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainer_client import wire
from trainer_client.live_rubrics.step_rubric import StepRubric
from trainer_client.scaffold import Message, turn

ROW = "row"
"""The key of a prompt's last message that holds its row: {"id", "rubric", "reference"} as JSON, and what few rows have:
the "ref" of a stored rubric beside its criteria, and "documents"."""
Prompt = Sequence[Mapping[str, Any]]
_COLUMNS = ("id", "rubric", "reference")
_NO_CRITERIA = (
    "a row's `rubric` is a reference without criteria, which a training needs: read it with "
    "trainer_client.rubric_folder.RubricFolder(FOLDER).get(ref), which gives both"
)


class Row(Protocol):
    """The fields that a row of training data must have; `trainer_client.data.rows.Row` has them."""

    @property
    def id(self) -> str: ...
    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def rubric(self) -> wire.Rubric | None: ...
    @property
    def reference(self) -> str | None: ...
    @property
    def documents(self) -> Sequence[str]: ...


def rowed(prompts: Sequence[str | Prompt], columns: Mapping[str, Sequence[Any]], *, rubrics: bool) -> list[Prompt]:
    """The prompts as messages with their rows: their own, or those that the data set's columns `rubric`, `reference`,
    `documents` and `id` make up. Raises ValueError where a prompt has neither and `rubrics` are needed."""
    return [_rowed(prompt, columns, place, rubrics) for place, prompt in enumerate(prompts)]


def _rowed(prompt: str | Prompt, columns: Mapping[str, Sequence[Any]], place: int, rubrics: bool) -> Prompt:
    messages: Prompt = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if messages and isinstance(messages[-1], Mapping) and ROW in messages[-1]:
        return messages
    row = {name: _stripped(columns[name][place]) if name in columns else None for name in _COLUMNS}
    if "documents" in columns and (documents := columns["documents"][place]):
        row["documents"] = documents
    if rubrics and not row["rubric"]:
        row_text(messages)  # It says what is missing.
    if isinstance(row["rubric"], str):
        row["rubric"] = wire.read_json(row["rubric"])
    if isinstance(row["rubric"], Mapping):
        if "criteria" not in row["rubric"]:
            raise ValueError(_NO_CRITERIA)
        row |= {"ref": row["rubric"].get("ref"), "rubric": row["rubric"]["criteria"]}
    *others, last = messages
    return [*others, {**last, ROW: json.dumps(row, ensure_ascii=False)}]


def _stripped(value: Any) -> Any:
    """Leaves out nulls: a data set gives every criterion all fields that any criterion has."""
    if isinstance(value, Mapping):
        return {key: _stripped(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return value


def with_row(row: Row) -> list[dict[str, Any]]:
    """The row's prompt; its last message holds the row."""
    criteria = None if row.rubric is None else row.rubric.model_dump(mode="json", by_alias=True)["criteria"]
    fields = {"id": row.id, "rubric": criteria, "reference": row.reference}
    if row.rubric is not None and row.rubric.ref is not None:
        fields["ref"] = row.rubric.ref
    if row.documents:
        fields["documents"] = list(row.documents)
    text = json.dumps(fields, ensure_ascii=False)
    *others, last = row.messages
    return [*(dict(message) for message in others), {**last, ROW: text}]


def with_rubric(prompt: Prompt, rubric: StepRubric) -> list[dict[str, Any]]:
    """The prompt with all criteria of this rubric in its row, in place of those it holds and of their `ref`."""
    criteria = [one.model_dump(mode="json", by_alias=True) for one in rubric.criteria]
    *others, last = prompt
    row = {name: value for name, value in row_of(prompt).items() if name != "ref"}
    text = json.dumps({**row, "rubric": criteria}, ensure_ascii=False)
    return [*(dict(message) for message in others), {**last, ROW: text}]


def bare(prompt: Prompt) -> list[Message]:
    """The prompt as the policy and the judge see it, without its row."""
    return list(map(turn, prompt))


def row_of(prompt: Prompt) -> dict[str, Any]:
    """The row of a prompt. Raises ValueError where the prompt holds none."""
    row: dict[str, Any] = wire.read_json(row_text(prompt))
    return row


def row_text(prompt: Prompt) -> str:
    """The row as JSON. Raises ValueError where there is none."""
    text = prompt[-1].get(ROW) if prompt and isinstance(prompt[-1], Mapping) else None
    if not isinstance(text, str):
        raise ValueError(
            f"a prompt's last message holds no `{ROW}`: make the data set with trainer_client.trl.trainer.dataset(rows)"
            ", or give it a column `rubric` with a list of criteria for each prompt"
        )
    return text

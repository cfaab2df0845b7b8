"""The row that a prompt carries: TRL hands a rollout function its prompts and nothing else, and the rubric must not be
looked up beside them.

Always true: what a prompt carries is the row it was made of; neither policy nor judge sees it in the prompt.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainer_client import wire
from trainer_client.scaffold import Message

ROW = "row"
"""The key of a prompt's last message that carries its row: {"id", "rubric", "reference"} as JSON."""
Prompt = Sequence[Mapping[str, Any]]


class Row(Protocol):
    """What a row of training data must have; `trainer_client.data.rows.Row` does."""

    @property
    def id(self) -> str: ...
    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def rubric(self) -> wire.Rubric | None: ...
    @property
    def reference(self) -> str | None: ...


def with_row(row: Row) -> list[dict[str, Any]]:
    """The row's prompt, its last message carrying the row."""
    criteria = None if row.rubric is None else row.rubric.model_dump(mode="json", by_alias=True)["criteria"]
    carried = json.dumps({"id": row.id, "rubric": criteria, "reference": row.reference}, ensure_ascii=False)
    *others, last = row.messages
    return [*(dict(message) for message in others), {**last, ROW: carried}]


def bare(prompt: Prompt) -> list[Message]:
    """The prompt as the policy and the judge see it, without the row that it carries."""
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def row_of(prompt: Prompt) -> dict[str, Any]:
    """Raises ValueError where the prompt carries none."""
    row: dict[str, Any] = json.loads(row_text(prompt))
    return row


def row_text(prompt: Prompt) -> str:
    """The row as JSON. Raises ValueError where there is none."""
    carried = prompt[-1].get(ROW) if prompt and isinstance(prompt[-1], Mapping) else None
    if not isinstance(carried, str):
        raise ValueError(
            f"a prompt's last message carries no `{ROW}`: make the data set with "
            "trainer_client.trl.trainer.dataset(rows)"
        )
    return carried

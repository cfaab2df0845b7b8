"""Writes rows of training data as verl's parquet, and reads them back from the samples of its rollouts and rewards.

RuscaRL's reward function reads the rubric from `extra_info`, others from `reward_model`: both are written.

Guarantees: a row that is read is the row that was written, with its rubric. The rubric travels in its own row, so that
no order of workers, batches or restarts can give a prompt another prompt's rubric.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.errors import DataError
from trainer_client.scaffold import Message

AGENT, TOOL_AGENT = "rubricd_scaffold", "rubricd_tools"
"""The names under which verl knows the agent loops; `trainer_client.verl.recipe.agent_loops` registers them."""

Split = Literal["train", "val"]
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A row as verl passes it to a rollout and to a reward. Rows of split `val` are not scaffolded."""

    row: Row
    split: Split

    def item(self, response: wire.Response) -> wire.Item:
        """One response to this row, to be scored."""
        row = self.row
        prompt = [wire.Message.model_validate(message) for message in row.messages]
        return wire.Item(
            id=row.id,
            prompt=prompt,
            response=response,
            rubric=row.rubric,
            reference=row.reference,
            documents=list(row.documents) or None,
        )


def to_parquet(rows: Iterable[Row], path: str | Path, *, split: Split, agent: str = AGENT) -> int:
    """Writes the rows in their order and returns their number. Raises DataError for rows with equal ids or without
    messages, and where pyarrow is missing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: writing parquet needs pyarrow: pip install 'rubricd[cli]'") from None
    schema = _schema(pyarrow)
    count = 0
    with parquet.ParquetWriter(path, schema) as file:
        for batch in _batches(_columns(rows, path, split, agent)):
            file.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def prompt_row(extra_info: Mapping[str, Any]) -> PromptRow:
    """The row that a sample's `extra_info` holds. Raises DataError for one that `to_parquet` did not write."""
    try:
        text, split = extra_info["row"], extra_info["split"]
        if not isinstance(text, str):
            raise TypeError("a row is JSON text")
        fields = wire.read_json(text)
        if split not in ("train", "val"):
            raise ValueError(f"no split {split!r}")
        rubric = None if fields["rubric"] is None else wire.Rubric.model_validate(fields["rubric"])
        messages: tuple[Message, ...] = tuple(fields["messages"])
        documents = tuple(fields.get("documents") or ())
        return PromptRow(Row(fields["id"], messages, rubric, fields["reference"], fields["source"], documents), split)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"a sample's extra_info holds no row of rubricd's ({type(error).__name__}); write the files of "
            "data.train_files and data.val_files with trainer_client.verl.rows.to_parquet"
        ) from None


def _schema(pyarrow: Any) -> Any:
    """The schema is written out because a column of nulls or of empty lists would have no type of its own."""
    text, whole = pyarrow.string(), pyarrow.int64()
    turns = pyarrow.list_(pyarrow.struct({"role": text, "content": text}))
    criterion = pyarrow.struct({"criterion": text, "points": pyarrow.float64(), "tags": pyarrow.list_(text)})
    model = pyarrow.struct({"style": text, "ground_truth": text, "rubrics": pyarrow.list_(criterion)})
    extra = {"index": whole, "split": text, "row": text, "prompt": turns, "reward_model": model}
    return pyarrow.schema(
        {
            "prompt": turns,
            "data_source": text,
            "agent_name": text,
            "reward_model": model,
            "extra_info": pyarrow.struct(extra),
        }
    )


def _columns(rows: Iterable[Row], path: str | Path, split: Split, agent: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if row.id in seen:
            raise DataError(f"{path}, row {index}: an earlier row has its id {row.id!r}; ids must be distinct")
        if not row.messages:
            raise DataError(f"{path}, row {index}: no messages; a prompt needs at least one")
        seen.add(row.id)
        prompt = [dict(message) for message in row.messages]
        model = {"style": "rubric", "ground_truth": row.reference, "rubrics": _rubrics(row.rubric)}
        extra = {"index": index, "split": split, "row": _text(row), "prompt": prompt, "reward_model": model}
        yield {
            "prompt": prompt,
            "data_source": row.source,
            "agent_name": agent,
            "reward_model": model,
            "extra_info": extra,
        }


def _rubrics(rubric: wire.Rubric | None) -> list[dict[str, Any]] | None:
    """The criteria as RuscaRL has them, with the points as they are counted. Its tags cannot name every rule:
    `extra_info.row` has them all."""
    if rubric is None:
        return None
    return [
        {"criterion": one.text, "points": one.worth, "tags": _tags({**one.tags, **wire.tags_of_verifier(one.verifier)})}
        for one in rubric.criteria
    ]


def _tags(tags: Mapping[str, str]) -> list[str]:
    return [f"{key}:{value}" for key, value in tags.items()]


def _text(row: Row) -> str:
    """The row as one JSON text. In nested columns Arrow would give every criterion the fields of all others, as
    nulls."""
    rubric = None if row.rubric is None else row.rubric.model_dump(mode="json", by_alias=True, exclude_none=True)
    fields = {
        "id": row.id,
        "messages": row.messages,
        "rubric": rubric,
        "reference": row.reference,
        "source": row.source,
        **({"documents": row.documents} if row.documents else {}),
    }
    return json.dumps(fields, ensure_ascii=False)


def _batches(columns: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for one in columns:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

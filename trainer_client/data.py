"""Files of what is to be scored, as items: JSON lines, RuscaRL/verl parquet, Rubrics-as-Rewards rows.

Always true: an item is what the file says or the reading stops there, with the file, the line or row, the field and
what to change. Nothing is skipped, and rows are read as they are asked for.
"""

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.errors import DataError

_SHAPES = (
    "give an item of POST /v1/score (`prompt`, `response`, `rubric`), a RuscaRL/verl row (`prompt`, "
    "`reward_model.rubrics`, `response`) or a Rubrics-as-Rewards row (`question`, `rubric`, `response`)"
)
_ITEM_COLUMNS = ("item", *wire.Item.model_fields)
_DATA_SET_COLUMNS = ("reward_model", "extra_info", "question", "reference_answer")
# What the contract calls a field, as the row of a data set calls it.
_VERL_NAMES = {"rubric": "reward_model.rubrics", "text": "criterion", "reference": "reward_model.ground_truth"}
_RAR_NAMES = {"prompt": "question", "text": "description", "points": "weight", "reference": "reference_answer"}


class _Slip(Exception):
    """What is wrong with one row; the caller knows where the row is."""


def read_items(path: str | Path, *, response_column: str | None = None) -> Iterator[wire.Item]:
    """The items of a `.jsonl` or `.parquet` file, in order.

    `response_column` names the column of the responses, a text or a list of texts; by default `response` or
    `responses`. Raises DataError at the first row that cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        rows = _json_lines(path)
    elif path.suffix.lower() == ".parquet":
        rows = _parquet_rows(path, response_column)
    else:
        raise DataError(f"{path}: cannot tell what it holds; its name must end in .jsonl or .parquet")
    seen: dict[str, str] = {}
    # An error that is kept would keep the rows' generator, and that its file, open.
    with contextlib.closing(rows):
        for index, (place, row) in enumerate(rows):
            try:
                item = _item(row, response_column)
                _check_new(item.result_ids(index), place, seen)
            except _Slip as slip:
                raise DataError(f"{path}, {place}: {slip}") from None
            yield item


def _check_new(ids: list[str], place: str, seen: dict[str, str]) -> None:
    for id in ids:
        if id in seen:
            raise _Slip(f"`id`: {seen[id]} has the same; ids must be distinct (without one, the index is the id)")
        seen[id] = place


def _json_lines(path: Path) -> Generator[tuple[str, Any]]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"line {number}", _json(path, number, line)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _json(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {number}: not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        said = f"not JSON at column {error.colno} ({error.msg}); a line must hold one whole JSON object"
        raise DataError(f"{path}, line {number}: {said}") from None
    except RecursionError:
        raise DataError(f"{path}, line {number}: nested too deep to be read") from None


def _parquet_rows(path: Path, response_column: str | None) -> Generator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install 'rubricd[cli]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            columns = [
                name
                for name in file.schema_arrow.names
                if name in (*_ITEM_COLUMNS, *_DATA_SET_COLUMNS, response_column)
            ]
            number = 0
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    yield f"row {number} (the first is row 0)", _without_nulls(row)
                    number += 1
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from None


def _without_nulls(value: Any) -> Any:
    """A parquet row has every field of its schema; the ones it does not use are null there, and absent in JSON."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _item(row: Any, response_column: str | None) -> wire.Item:
    if not isinstance(row, dict):
        raise _Slip(f"not an object; {_SHAPES}")
    if isinstance(row.get("item"), dict):
        row = row["item"]
    if "items" in row:
        raise _Slip("a whole request; write each of its `items` on a line of its own")
    if "reward_model" in row or "reward_model" in _mapping(row.get("extra_info")):
        return _validated(_from_verl(row, response_column), _VERL_NAMES)
    if "question" in row and "rubric" in row:
        return _validated(_from_rar(row, response_column), _RAR_NAMES)
    if "prompt" not in row:
        raise _Slip(f"no `prompt`; {_SHAPES}")
    return _validated(row if response_column is None else _with_column(row, response_column), {})


def _from_verl(row: dict[str, Any], response_column: str | None) -> dict[str, Any]:
    extra = _mapping(row.get("extra_info"))
    models = [_mapping(row.get("reward_model")), _mapping(extra.get("reward_model"))]
    model = next((model for model in models if model.get("rubrics")), None)
    if model is None:
        raise _Slip("`reward_model.rubrics` is missing or empty; give a list of {criterion, points, tags}")
    item = {
        "prompt": row.get("prompt", extra.get("prompt")),
        "rubric": _without_nulls(model["rubrics"]),
        "reference": model.get("ground_truth") or None,
    }
    return item | _responses(row, response_column)


def _from_rar(row: dict[str, Any], response_column: str | None) -> dict[str, Any]:
    item = {
        "prompt": row["question"],
        "rubric": _without_nulls(row["rubric"]),
        "reference": row.get("reference_answer") or None,
    }
    return item | _responses(row, response_column)


def _with_column(row: dict[str, Any], response_column: str) -> dict[str, Any]:
    others = {key: row[key] for key in row.keys() - {"response", "responses", response_column}}
    return others | _responses(row, response_column)


def _responses(row: dict[str, Any], column: str | None) -> dict[str, Any]:
    names = [column] if column is not None else ["response", "responses"]
    found = [name for name in names if row.get(name) is not None]
    if not found:
        missing = " or ".join(f"`{name}`" for name in names)
        raise _Slip(
            f"no {missing}; add the responses to judge, a text or a list of texts, or name their column with "
            "--response-column"
        )
    if len(found) > 1:
        raise _Slip("both `response` and `responses`; keep one, or name the one to judge with --response-column")
    value = row[found[0]]
    if isinstance(value, str):
        return {"response": value}
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return {"responses": value}
    raise _Slip(f"`{found[0]}` must be a text or a list of texts that is not empty")


def _validated(item: dict[str, Any], names: Mapping[str, str]) -> wire.Item:
    try:
        return wire.Item.model_validate(item)
    except ValidationError as error:
        slips = error.errors(include_url=False, include_input=False)
        # Of a field that may be one of several types, the longest place is the type that was meant.
        field = slips[0]["loc"][:1]
        slip = max((slip for slip in slips if slip["loc"][:1] == field), key=lambda slip: len(slip["loc"]))
        raise _Slip(f"`{_place(slip['loc'], names)}`: {slip['msg'].removeprefix('Value error, ')}") from None


def _place(loc: tuple[str | int, ...], names: Mapping[str, str]) -> str:
    parts = (part for part in loc if part not in ("str", "list[Message]", "criteria"))
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{names.get(part, part)}" for part in parts)
    return joined.removeprefix(".") or "item"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

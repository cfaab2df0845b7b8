"""Files of JSON lines or parquet, row by row, and what the rows of each kind of data set call the fields of an item.

Always true: a row is what the file says; what is wrong with one is told with the field and what to change, and whoever
reads adds the file and the place. Rows are read as they are asked for.
"""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.errors import DataError

Shape = Literal["item", "verl", "rar"]

_SHAPES = (
    "give an item of POST /v1/score (`prompt`, `response`, `rubric`), a RuscaRL/verl row (`prompt`, "
    "`reward_model.rubrics`, `response`) or a Rubrics-as-Rewards row (`question`, `rubric`, `response`)"
)
_ITEM_COLUMNS = ("item", *wire.Item.model_fields)
_DATA_SET_COLUMNS = (
    "reward_model",
    "extra_info",
    "data_source",
    "question",
    "reference_answer",
    "question_source",
)
# What the contract calls a field, as the row of a data set calls it.
_NAMES: Mapping[Shape, Mapping[str, str]] = {
    "item": {},
    "verl": {"rubric": "reward_model.rubrics", "text": "criterion", "reference": "reward_model.ground_truth"},
    "rar": {"prompt": "question", "text": "description", "points": "weight", "reference": "reference_answer"},
}


class RowError(Exception):
    """What is wrong with one row; the caller knows where the row is."""


def rows(path: Path, more_columns: tuple[str, ...] = ()) -> Generator[tuple[str, Any]]:
    """Place and content of each row. Raises DataError for a file that cannot be read so far. Of a parquet file only the
    columns are read that some shape has, and `more_columns`."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if path.suffix.lower() == ".parquet":
        return _parquet_rows(path, {*_ITEM_COLUMNS, *_DATA_SET_COLUMNS, *more_columns})
    raise DataError(f"{path}: cannot tell what it holds; its name must end in .jsonl or .parquet")


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


def _parquet_rows(path: Path, wanted: set[str]) -> Generator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install 'rubricd[cli]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in wanted]
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


def opened(row: Any) -> tuple[Shape, dict[str, Any]]:
    """What kind of row it is, and the row itself where it lies in an `item`."""
    if not isinstance(row, dict):
        raise RowError(f"not an object; {_SHAPES}")
    if isinstance(row.get("item"), dict):
        row = row["item"]
    if "items" in row:
        raise RowError("a whole request; write each of its `items` on a line of its own")
    if "reward_model" in row or "reward_model" in mapping(row.get("extra_info")):
        return "verl", row
    if "question" in row and "rubric" in row:
        return "rar", row
    if "prompt" not in row:
        raise RowError(f"no `prompt`; {_SHAPES}")
    return "item", row


def asked(shape: Shape, row: dict[str, Any]) -> dict[str, Any]:
    """The item's fields that say what is asked: of a data set's row `prompt`, `rubric` and `reference`; of an item all
    but its responses."""
    match shape:
        case "item":
            return {key: row[key] for key in row.keys() - {"response", "responses"}}
        case "verl":
            return _of_verl(row)
        case "rar":
            reference = row.get("reference_answer") or None
            return {"prompt": row["question"], "rubric": _without_nulls(row["rubric"]), "reference": reference}


def _of_verl(row: dict[str, Any]) -> dict[str, Any]:
    extra = mapping(row.get("extra_info"))
    models = [mapping(row.get("reward_model")), mapping(extra.get("reward_model"))]
    model = next((model for model in models if model.get("rubrics")), None)
    if model is None:
        raise RowError("`reward_model.rubrics` is missing or empty; give a list of {criterion, points, tags}")
    return {
        "prompt": row.get("prompt", extra.get("prompt")),
        "rubric": _without_nulls(model["rubrics"]),
        "reference": model.get("ground_truth") or None,
    }


def item(shape: Shape, fields: dict[str, Any]) -> wire.Item:
    """Raises Slip with the field as the row calls it."""
    try:
        return wire.Item.model_validate(fields)
    except ValidationError as error:
        slips = error.errors(include_url=False, include_input=False)
        # Of a field that may be one of several types, the longest place is the type that was meant.
        field = slips[0]["loc"][:1]
        slip = max((slip for slip in slips if slip["loc"][:1] == field), key=lambda slip: len(slip["loc"]))
        said = slip["msg"].removeprefix("Value error, ")
        raise RowError(f"`{_place(slip['loc'], _NAMES[shape])}`: {said}") from None


def _place(loc: tuple[str | int, ...], names: Mapping[str, str]) -> str:
    parts = (part for part in loc if part not in ("str", "list[Message]", "criteria"))
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{names.get(part, part)}" for part in parts)
    return joined.removeprefix(".") or "item"


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

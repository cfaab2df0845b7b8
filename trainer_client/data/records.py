"""Reads files of JSON lines or parquet row by row, and turns the rows of each kind of data set into items.

Guarantees: an error names the field as the row calls it and what to change; the caller adds file and place. A key that
stands twice in one JSON object is an error. Rows are read one by one, as the caller takes them.
"""

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
# For a field of the contract, the name that a data set's rows have for it.
_NAMES: Mapping[Shape, Mapping[str, str]] = {
    "item": {},
    "verl": {"rubric": "reward_model.rubrics", "text": "criterion", "reference": "reward_model.ground_truth"},
    "rar": {"prompt": "question", "text": "description", "points": "weight", "reference": "reference_answer"},
}


class RowError(Exception):
    """One row cannot be used, and why. The caller knows the place of the row."""


def rows(path: Path, more_columns: tuple[str, ...] = ()) -> Generator[tuple[str, Any]]:
    """Yields place and content of each row. Raises DataError at the first that cannot be read. Of a parquet file only
    `more_columns` and the columns that some shape has are read."""
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
        return wire.read_json(line)
    except wire.JsonFault as fault:
        if fault.path:
            raise DataError(f"{path}, line {number}: `{_place(fault.path, {})}`: {fault}") from None
        problem = str(fault).replace("not valid JSON at line 1,", "not JSON at")
        hint = "a line must hold one whole JSON object, in UTF-8"
        raise DataError(f"{path}, line {number}: {problem}; {hint}") from None


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
    """Leaves out nulls: a parquet row has every field of its schema, and those that it does not use are null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def recognised(row: Any) -> tuple[Shape, dict[str, Any]]:
    """The row's shape, and the row itself, also where it lies in an `item`. Raises RowError."""
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


def task(shape: Shape, row: dict[str, Any]) -> dict[str, Any]:
    """The fields of an item without its responses: `prompt`, `rubric` and `reference`, of an item also the others."""
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
    """The item with these fields. Raises RowError with the field as the row calls it."""
    try:
        return wire.Item.model_validate(fields)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        # A field that may have several types has an error for each; the longest place is the type that was meant.
        field = errors[0]["loc"][:1]
        meant = max((one for one in errors if one["loc"][:1] == field), key=lambda one: len(one["loc"]))
        problem = meant["msg"].removeprefix("Value error, ")
        raise RowError(f"`{_place(meant['loc'], _NAMES[shape])}`: {problem}") from None


def _place(loc: tuple[str | int, ...], names: Mapping[str, str]) -> str:
    parts = (part for part in loc if part not in ("str", "list[Message]", "criteria"))
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{names.get(part, part)}" for part in parts)
    return joined.removeprefix(".") or "item"


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

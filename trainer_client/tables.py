"""Scores the rows of a pandas DataFrame or a Hugging Face Dataset, and gives them back with columns of results.

Guarantees: a row that was not judged has no score, which a Dataset shows as None and a DataFrame as NaN. Rows keep
their order, index and columns. Neither library is imported here: a table brings its own.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from trainer_client import wire
from trainer_client.client import Outcome, Scored, ScoreOptions, SyncJudgeClient, reward
from trainer_client.data.reader import Law, to_score
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.reward_client import why_missing

_Table = TypeVar("_Table")


def score_table(
    client: SyncJudgeClient,
    /,
    table: _Table,
    *,
    prefix: str = "",
    response_column: str | None = None,
    wait_for_judge_s: float | None = None,
    **options: Unpack[ScoreOptions],
) -> _Table:
    """Returns the table with the columns `score`, `status`, `reason`, `coverage`, `score_low`, `score_high`, `met` and
    `judge`, each with `prefix` before its name.

    The table has the columns `prompt`, `response` or `responses` (or `response_column`), `rubric`, and where the mode
    needs it `reference`, or those of any format that `rubricd score` reads. All columns stay as they are.

    `reason` is `ok` or why there is no score, `met` is {"criterion id": true, false or null} as JSON, `judge` the
    fingerprint. A row with `responses`, a list, gets a list in each of these columns.
    `options` are those of `JudgeClient.score`. Raises DataError, which names the row, before anything is judged.
    """
    rows = _rows(table)
    taken = [name for name in map(prefix.__add__, _RESULTS) if name in _column_names(table)]
    if taken:
        raise DataError(f"the table has a column `{taken[0]}` already: take it out, or set `prefix`")
    law = Law(pitfalls=options.get("pitfalls"), response_column=response_column)
    items = [_item(row, place, law) for place, row in enumerate(rows)]
    outcomes = iter(client.score(items, wait_for_judge_s=wait_for_judge_s, **options))
    results = [[next(outcomes) for _ in item.result_ids(place)] for place, item in enumerate(items)]
    grouped = [item.responses is not None for item in items]
    columns = {
        prefix + name: [_cell(value, found, many) for found, many in zip(results, grouped, strict=True)]
        for name, value in _RESULTS.items()
    }
    scored: _Table = _with_columns(table, columns)
    return scored


def _cell(value: Callable[[Outcome], Any], outcomes: Sequence[Outcome], many: bool) -> Any:
    values = [value(outcome) for outcome in outcomes]
    return values if many else values[0]


def _bound(outcome: Outcome, side: int) -> float | None:
    bounds = outcome.result.score_bounds if isinstance(outcome, Scored) else None
    return None if bounds is None else bounds[side]


def _met(outcome: Outcome) -> str:
    criteria = outcome.result.criteria if isinstance(outcome, Scored) else ()
    return json.dumps({criterion.id: criterion.met for criterion in criteria}, ensure_ascii=False)


_RESULTS: Mapping[str, Callable[[Outcome], Any]] = {
    "score": reward,
    "status": lambda outcome: outcome.result.status if isinstance(outcome, Scored) else "failed",
    "reason": why_missing,
    "coverage": lambda outcome: outcome.result.coverage if isinstance(outcome, Scored) else 0.0,
    "score_low": lambda outcome: _bound(outcome, 0),
    "score_high": lambda outcome: _bound(outcome, 1),
    "met": _met,
    "judge": lambda outcome: outcome.judge.fingerprint if isinstance(outcome, Scored) else None,
}
_NUMBERS = ("score", "coverage", "score_low", "score_high")


def _item(row: Mapping[str, Any], place: int, law: Law) -> wire.Item:
    try:
        item = to_score(_plain(row), law).item
    except RowError as error:
        raise DataError(f"row {place} (the first is row 0): {error}") from None
    # The other columns stay in the table, and rows are told apart by their place.
    return item.model_copy(update={"id": None, "metadata": None})


def _plain(value: Any) -> Any:
    """The value in JSON's types: arrays as lists, without nulls, which a table has for each field that a row lacks."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: plain for key, inner in value.items() if (plain := _plain(inner)) is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    # NaN is how a DataFrame writes that there is nothing; NaN in a field that has a number is an error like any other.
    return None if isinstance(value, float) and value != value else value


def _rows(table: Any) -> list[dict[str, Any]]:
    if hasattr(table, "to_list"):
        return list(table.to_list())
    if hasattr(table, "to_dict") and hasattr(table, "assign"):
        return list(table.to_dict("records"))
    raise TypeError(f"a table is a pandas DataFrame or a datasets.Dataset, not {type(table).__name__}")


def _column_names(table: Any) -> Iterator[str]:
    return iter(table.column_names if hasattr(table, "column_names") else table.columns)


def _with_columns(table: Any, columns: Mapping[str, list[Any]]) -> Any:
    if hasattr(table, "assign"):
        return table.assign(**{name: _of_frame(name, values) for name, values in columns.items()})
    for name, values in columns.items():
        table = table.add_column(name, values)
    return table


def _of_frame(name: str, values: list[Any]) -> list[Any]:
    """Nulls of a column of numbers as NaN, so that it is one also where all are null."""
    if not name.endswith(_NUMBERS) or any(isinstance(value, list) for value in values):
        return values
    return [float("nan") if value is None else value for value in values]

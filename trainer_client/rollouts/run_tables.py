"""Reads the tables of completions that a training writes, in the order of their steps. It needs pyarrow.

Guarantees: a last table that is not whole, because it is being written or because the training was killed meanwhile,
is left out and said; any other such table is an error. A group is the rollouts of one row in one batch, and where a
batch holds a row twice, each has a group of its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trainer_client import wire
from trainer_client.data.records import without_nulls
from trainer_client.errors import DataError
from trainer_client.rollouts import verdicts
from trainer_client.rollouts.logged import LoggedVerdict, Rollout, Turns, prompt_id

Kind = Literal["completions", "held_out"]
Say = Callable[[str], None]
_ROW = "row"
_NEEDED = ("prompt", "completion", "score", "criteria")


def tables(folder: Path, kind: Kind) -> list[Path]:
    """The tables of one kind in a folder, the earliest step first."""
    found = [path for path in folder.glob(f"{kind}_*.parquet") if step_of(path) is not None]
    return sorted(found, key=lambda path: step_of(path) or 0)


def step_of(path: Path) -> int | None:
    """The step in a table's name."""
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdigit() else None


def rollouts(paths: Sequence[Path], say: Say, after: int = -1) -> Iterator[Rollout]:
    """The rollouts of tables whose step is after this one."""
    told = False
    for path in paths:
        if (step_of(path) or 0) <= after:
            continue
        rows = _rows(path, last=path == paths[-1], say=say)
        if rows and "verdicts" not in rows[0] and not told:
            told = True
            say(f"{path}: an older run: its tables have no column `verdicts`, so that P(met) is not known")
        yield from _of_table(path, rows)


def _rows(path: Path, *, last: bool, say: Say) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: reading it needs pyarrow: pip install 'rubricd[cli]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        if last:
            say(f"{path.name} is not whole yet and is left out")
            return []
        raise DataError(f"{path}: the table is damaged ({type(error).__name__}); take it out of the folder") from None
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise DataError(f"{path}: no column `{missing[0]}`; it is no table of rollouts that `rubricd train` wrote")
    return rows


def _of_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Rollout]:
    seen: Counter[tuple[str, Any]] = Counter()
    for number, row in enumerate(rows):
        place = f"{path}, row {number} (the first is row 0)"
        turns, own = _prompt(row["prompt"], place)
        id = str(row.get(_ROW) or own.get("id") or prompt_id(turns))
        step = int(row["step"]) if row.get("step") is not None else step_of(path)
        member = (id, row.get("member"))
        again = seen[member] if row.get("member") is not None else 0
        seen[member] += 1
        yield _rollout(row, place, step, f"{step}/{id}/{again}", id, turns, own)


def _rollout(
    row: Mapping[str, Any],
    place: str,
    step: int | None,
    group: str,
    id: str,
    turns: Turns,
    own: Mapping[str, Any],
) -> Rollout:
    judge = row.get("judge") if isinstance(row.get("judge"), str) else None
    rubric = verdicts.rubric(_criteria(row, own, place), place)
    return Rollout(
        place=place,
        step=step,
        group=group,
        id=id,
        prompt=turns,
        response=_response(row),
        rubric=rubric,
        reference=own.get("reference"),
        criteria=verdicts.joined(_said(row, place), rubric, judge, place),
        status=row.get("status") or ("ok" if _number(row["score"]) is not None else "unknown"),
        score=_number(row["score"]),
        reward=_number(row.get("reward")),
        advantage=_number(row.get("advantage")),
        shown=_shown(row, place),
        judge=judge,
        attempts=row.get("attempts"),
        others=dict(_others(row, rubric, place)),
        documents=tuple(own.get("documents") or ()),
    )


def _others(
    row: Mapping[str, Any], rubric: wire.Rubric | None, place: str
) -> Iterator[tuple[str, tuple[LoggedVerdict, ...]]]:
    """Columns of another judge begin with its name, as in `examiner/verdicts`."""
    for column, text in row.items():
        name, _, what = column.rpartition("/")
        if what == "verdicts" and name and isinstance(text, str):
            said = row.get(f"{name}/judge")
            fingerprint = said if isinstance(said, str) else None
            yield name, verdicts.joined(_json(text, column, place), rubric, fingerprint, place)


def _prompt(value: Any, place: str) -> tuple[Turns, dict[str, Any]]:
    """The turns as policy and judge saw them, and the row that the last one holds."""
    if isinstance(value, str):
        return ({"role": "user", "content": value},), {}
    if not isinstance(value, list) or not value:
        raise DataError(f"{place}: `prompt` holds no turns")
    own = value[-1].get(_ROW)
    turns = tuple(without_nulls({key: inner for key, inner in turn.items() if key != _ROW}) for turn in value)
    return turns, {} if own is None else _json(own, "prompt", place)


def _response(row: Mapping[str, Any]) -> str | Turns:
    """The text that was judged, or the turns where tools took part."""
    completion = row["completion"]
    if isinstance(completion, list) and len(completion) > 1:
        return tuple(without_nulls(turn) for turn in completion)
    if row.get("answer") is not None:
        return str(row["answer"])
    return completion if isinstance(completion, str) else str(completion[0].get("content") or "") if completion else ""


def _said(row: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    if row.get("verdicts") is not None:
        return list(_json(row["verdicts"], "verdicts", place))
    met = _json(row["criteria"] or "{}", "criteria", place)
    return [{"id": id, "met": value} for id, value in met.items()]


def _criteria(row: Mapping[str, Any], own: Mapping[str, Any], place: str) -> Any:
    """The criteria of the row's rubric, and those that evolved beside them in this step."""
    evolved = row.get("evolved")
    added = _json(evolved, "evolved", place) if isinstance(evolved, str) else []
    return [*(own.get("rubric") or []), *added] if added else own.get("rubric")


def _shown(row: Mapping[str, Any], place: str) -> tuple[int, ...] | None:
    value = row.get("revealed")
    return None if value is None else tuple(_json(value, "revealed", place))


def _json(text: Any, column: str, place: str) -> Any:
    try:
        return wire.read_json(text)
    except (wire.JsonFault, TypeError):
        raise DataError(f"{place}: `{column}` is not JSON") from None


def _number(value: Any) -> float | None:
    """A finite number; a table has NaN where a row lacks one."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

"""Writes scored responses and their verdicts as CSV and as parquet, a row for each.

Guarantees: a number is written so that it is read back exactly. A value that is missing is null in parquet and an empty
field in CSV. A half of a surrogate pair, which UTF-8 cannot hold, is written as its escape.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.rollouts.logged import Turns
from trainer_client.viewer.columns import Source, entries_of, said_in

Kind = str
_NUMBER, _WHOLE, _TEXT, _TRUTH = "float64", "int64", "string", "bool_"
"""The names of the functions of pyarrow that make these types."""
_RESPONSES: Mapping[str, Kind] = {
    **dict.fromkeys(("file", "place", "group", "id", "status", "detail", "judge"), _TEXT),
    "step": _WHOLE,
    "attempts": _WHOLE,
    **dict.fromkeys(("score", "reward", "advantage", "coverage", "score_low", "score_high"), _NUMBER),
    **dict.fromkeys(("prompt", "response"), _TEXT),
}
_CRITERIA: Mapping[str, Kind] = {
    **dict.fromkeys(("file", "place", "id", "criterion", "text", "tags"), _TEXT),
    "points": _NUMBER,
    "status": _TEXT,
    "met": _TRUTH,
    **dict.fromkeys(("p", "p_raw"), _NUMBER),
    "level": _WHOLE,
    "value": _NUMBER,
    **dict.fromkeys(("extracted", "source", "explanation", "detail"), _TEXT),
}


def beside(path: Path) -> Path:
    """Where the verdicts go: `a.csv` has them in `a.criteria.csv`."""
    return path.with_name(f"{path.stem}.criteria{path.suffix}")


def write_csv(sources: Sequence[Source], path: Path) -> None:
    """Writes the responses to `path`, and the verdicts to the file beside it."""
    _csv(path, _RESPONSES, responses(sources))
    _csv(beside(path), _CRITERIA, criteria(sources))


def write_parquet(sources: Sequence[Source], path: Path) -> None:
    """Writes the responses to `path`, and the verdicts to the file beside it. Raises DataError without pyarrow."""
    _parquet(path, _RESPONSES, responses(sources))
    _parquet(beside(path), _CRITERIA, criteria(sources))


def responses(sources: Sequence[Source]) -> Iterator[Sequence[Any]]:
    """A row for each response, in the order of the columns."""
    for source in sources:
        for one in source.rollouts:
            low, high = one.bounds or (None, None)
            yield (
                *(source.name, one.place, one.group, one.id, one.status, one.detail, one.judge),
                *(one.step, one.attempts),
                *(one.score, one.reward, one.advantage, one.coverage, low, high),
                *(_plain(one.prompt), _plain(one.response)),
            )


def criteria(sources: Sequence[Source]) -> Iterator[Sequence[Any]]:
    """A row for each criterion of each response, in the order of the columns."""
    for source in sources:
        for of in source.rollouts:
            for one in entries_of(of):
                tags = "; ".join(f"{key}: {value}" for key, value in one.tags.items())
                yield (
                    *(source.name, of.place, of.id, one.id, one.text, tags or None, one.points),
                    *(one.status, one.met, one.p, one.p_raw, one.level, one.value),
                    *(one.extracted, one.source, one.explanation, one.detail),
                )


def _plain(said: str | Turns) -> str:
    if isinstance(said, str):
        return said
    return "\n\n".join(f"{turn['role']}: {said_in(turn)}" for turn in said)


def _csv(path: Path, columns: Mapping[str, Kind], rows: Iterator[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(map(_fields, rows))


def _fields(row: Sequence[Any]) -> list[Any]:
    """Texts and numbers as they are; the writer writes a float by its repr, which is read back exactly."""
    return [str(value).lower() if isinstance(value, bool) else value for value in row]


def _parquet(path: Path, columns: Mapping[str, Kind], rows: Iterator[Sequence[Any]]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: writing it needs pyarrow: pip install 'rubricd[cli]'") from None
    held: list[list[Any]] = [[] for _ in columns]
    for row in rows:
        for column, value in zip(held, row, strict=True):
            column.append(_utf8(value) if isinstance(value, str) else value)
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
    parquet.write_table(pyarrow.table(held, schema=schema), path)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

"""Measures how long the rows of a file are, for `rubricd size`.

Guarantees: lengths are counted by the judge's own tokenizer where its folder has one; without it they are estimated by
characters, and `counted` says which.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.sizing.model import CHARS_A_TOKEN

QUESTION_TOKENS = 20
"""About what stands around a criterion in the judge's prompt: the question and the template's end."""
_LAW = Law(pitfalls="met_is_good")  # no length depends on what a pitfall means
Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Means of a file's rows, in tokens. `response` and `group` are None where the file has no responses."""

    rows: int
    conversation: int
    criterion: int
    criteria: int
    response: int | None
    group: int | None
    counted: bool


def lengths(paths: Sequence[Path], judge: Path) -> Lengths:
    """The lengths of the rows of files. `judge` is the judge's folder, if it is one. Raises DataError."""
    exact = _tokenizer(judge)
    count = cache(exact or (lambda text: -(-len(text) // CHARS_A_TOKEN)))
    conversations: list[int] = []
    criteria: list[int] = []
    counts: list[int] = []
    responses: list[int] = []
    groups: list[int] = []
    for place, raw in sources.rows(paths):
        try:
            row = reader.for_training(raw, _LAW).item
        except RowError as error:
            raise DataError(f"{place}: {error}") from None
        conversations.append(count(_text(row.prompt)))
        own = [count(one.text) + QUESTION_TOKENS for one in row.rubric.criteria] if row.rubric else []
        criteria += own
        counts.append(len(own))
        texts = _responses(raw)
        responses += map(count, texts)
        groups += [len(texts)] if texts else []
    if not conversations:
        raise DataError(f"{', '.join(map(str, paths))}: holds no rows")
    return Lengths(
        rows=len(conversations),
        conversation=_mean(conversations),
        criterion=_mean(criteria or [QUESTION_TOKENS]),
        criteria=_mean(counts),
        response=_mean(responses) if responses else None,
        group=_mean(groups) if groups else None,
        counted=exact is not None,
    )


def _responses(raw: object) -> list[str]:
    """The row's responses; none where it has none that can be read, as rows to train on have none."""
    try:
        item = reader.to_score(raw, _LAW).item
    except RowError:
        return []
    return [_text(one) for one in item.responses or [item.response or ""]]


def _text(value: str | Sequence[wire.Message]) -> str:
    return value if isinstance(value, str) else "\n".join(turn.content for turn in value)


def _mean(values: Iterable[int]) -> int:
    """Rounded, and at least 1: nothing is free."""
    listed = list(values)
    return max(1, round(sum(listed) / len(listed)))


def _tokenizer(judge: Path) -> Count | None:
    """Counts tokens as the judge does; None where its folder has no tokenizer.json, or the package is not there."""
    file = (judge if judge.is_dir() else judge.parent) / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)

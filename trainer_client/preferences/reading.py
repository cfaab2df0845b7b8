"""Reads pairs from files: rows that say which of two answers is preferred, or that have several answers with scores.

Guarantees: no row is skipped, and nothing is guessed from an order of answers. At the first row that cannot be read the
reading stops with the file, the line or row, the field and what to write.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.formats import table
from trainer_client.data.formats.task import identity, reference
from trainer_client.data.preferred import PAIRS, holds_pair, pair_of, prompt_of_pair
from trainer_client.data.reader import Law
from trainer_client.data.records import Raw, RowError, decoded_if_json, shown
from trainer_client.errors import DataError
from trainer_client.preferences.pairs import PreferencePair

_REFERENCES = ("reference", "reference_answer", "ideal_completion", "answer")
_PAIR_COLUMNS = frozenset(name for names in PAIRS for name in names) | {"winner"}


def read_pairs(paths: Sequence[str | Path], law: Law) -> list[PreferencePair]:
    """All pairs, in order. Raises DataError at the first row that cannot be read, or where there is none."""
    found: list[PreferencePair] = []
    records = sources.rows(paths)
    try:
        for index, (place, raw) in enumerate(records):
            try:
                found.extend(_pairs(table.unpacked(raw), index, law))
            except RowError as error:
                raise DataError(f"{place}: {error}") from None
    finally:
        records.close()
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: holds no pair of which one answer is better")
    return found


def _pairs(row: Raw, index: int, law: Law) -> Iterator[PreferencePair]:
    if holds_pair(row):
        task = _task(row, law)
        chosen, rejected = pair_of(row)
        yield _pair(task, index, "", chosen, rejected)
        return
    responses, scores = decoded_if_json(row.get("responses")), decoded_if_json(row.get("scores"))
    if not isinstance(responses, list) or scores is None:
        raise RowError(
            "no pair of answers; write `chosen` and `rejected`, or `response_a`, `response_b` and `winner`, or "
            "`responses` with a list of `scores`, or build pairs from good responses with --perturb"
        )
    if not all(isinstance(one, str) for one in responses):
        raise RowError("`responses`: write a list of texts")
    if not _are_scores(scores) or len(scores) != len(responses):
        raise RowError(f"`scores` is {shown(scores)}; write one number for each of the {len(responses)} responses")
    task = _task(row, law)
    for one, other in combinations(range(len(responses)), 2):
        if scores[one] != scores[other]:
            better, worse = (one, other) if scores[one] > scores[other] else (other, one)
            yield _pair(task, index, f"/{better}-{worse}", responses[better], responses[worse])


def _are_scores(scores: Any) -> bool:
    return isinstance(scores, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and one == one for one in scores
    )


def _task(row: Raw, law: Law) -> wire.Item:
    """The row's prompt, rubric and reference. Without a rubric the last two may have any of their names."""
    left = {name: value for name, value in row.items() if name not in _PAIR_COLUMNS | {"responses", "scores"}}
    if table.has_rubric(left):
        if not any(left.get(name) is not None for name in table.CONVERSATIONS):
            left["prompt"] = prompt_of_pair(row)
        return reader.for_training(left, law).item
    name = next((one for one in table.CONVERSATIONS if left.get(one) is not None), None)
    prompt = left[name] if name is not None else prompt_of_pair(row)
    if prompt is None:
        raise RowError(f"no `prompt`; its columns are {', '.join(f'`{one}`' for one in list(row)[:12])}")
    known = next((left[one] for one in _REFERENCES if isinstance(left.get(one), str)), None)
    bare = {"prompt": prompt, "reference": reference(known), "id": identity(left.get("id"))}
    bare["documents"] = left.get("documents")
    return reader.for_training(bare, law).item


def _pair(task: wire.Item, index: int, ending: str, chosen: str, rejected: str) -> PreferencePair:
    group = task.id or str(index)
    about = (task.prompt, chosen, rejected, task.rubric, task.reference, task.documents)
    return PreferencePair(f"{group}{ending}", group, "given", *about)

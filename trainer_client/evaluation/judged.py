"""Asks a judge service about the answers of a policy, in bounded memory, and keeps what it said in a log.

Guarantees: all results are of one judge. A result is found in the log for the same item, options and judge, or not at
all. What another attempt may bring is not kept, and is asked again by the same command. Equal questions are asked once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.client import Failed, JudgeClient, Outcome, ScoreOptions
from trainer_client.errors import BodyTooLarge, InvalidRequest
from trainer_client.evaluation.kept import KeptLines
from trainer_client.evaluation.workers import work_through
from trainer_client.labels.judging import FINAL, MODES
from trainer_client.labels.labelled import digest, item_digest

_WITHOUT_VERDICT = frozenset({"priority", "cache", "deadline_ms", "expect_judge"})


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of one answer. `met` is in the order of the rubric, None where there is no verdict, and
    empty in the rating modes; `why` are the statuses of what has no verdict, or the code of an error. `said` are the
    verdicts as the service answered them; it is empty where an older command asked, or the whole answer failed."""

    score: float | None
    met: tuple[bool | None, ...]
    why: tuple[str, ...] = ()
    said: tuple[Mapping[str, Any], ...] = ()

    @property
    def final(self) -> bool:
        return all(one in FINAL for one in self.why)


class JudgedLog:
    """The results of one judge, by key."""

    def __init__(self, path: Path, judge: str) -> None:
        self._lines = KeptLines(path, judge)

    def __enter__(self) -> "JudgedLog":
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.__exit__(*error)

    def find(self, key: str) -> Judged | None:
        kept = self._lines.find(key)
        if kept is None:
            return None
        return Judged(kept["score"], tuple(kept["met"]), tuple(kept["why"]), tuple(kept.get("said", ())))

    def keep(self, key: str, judged: Judged) -> None:
        self._lines.keep(key, asdict(judged), final=judged.final)


async def judge_answers(
    client: JudgeClient,
    judge: wire.Judge,
    limits: wire.Limits,
    items: Sequence[wire.Item],
    *,
    options: ScoreOptions,
    log: Path,
    workers: int,
    progress: Callable[[int], None],
    wait_for_judge_s: float = 1800.0,
) -> list[Judged]:
    """The results of the items, in order. `progress` is told how many more are done. Raises RubricdClientError."""
    sent = [item.model_copy(update={"id": None, "group": None, "metadata": None}) for item in items]
    salt = digest({name: value for name, value in options.items() if name not in _WITHOUT_VERDICT})
    keys = [digest([item_digest(item), salt]) for item in sent]
    client.fit(limits)
    pinned: ScoreOptions = {**options, "expect_judge": judge.fingerprint}
    with JudgedLog(log, judge.fingerprint) as known:
        left = {key: item for key, item in zip(keys, sent, strict=True) if known.find(key) is None}
        progress(sum(key not in left for key in keys))
        asked_for = Counter(keys)
        rates = options.get("mode", "verdict") not in MODES

        async def ask(batch: Sequence[tuple[str, wire.Item]]) -> None:
            def keep(place: int, outcome: Outcome) -> None:
                key, item = batch[place]
                known.keep(key, _judged(outcome, item, rates))
                progress(asked_for[key])

            outcomes = await client.score(
                [item for _, item in batch], on_outcome=keep, wait_for_judge_s=wait_for_judge_s, **pinned
            )
            for outcome in outcomes:
                if isinstance(outcome, Failed) and not isinstance(outcome.error, InvalidRequest | BodyTooLarge):
                    raise outcome.error

        await work_through(_batches(left, limits, client.batch_items), ask, workers)
        return [judged for key in keys if (judged := known.find(key)) is not None]


def _batches(
    left: Mapping[str, wire.Item], limits: wire.Limits, most_items: int
) -> Iterator[list[tuple[str, wire.Item]]]:
    """Items in requests that the service takes."""
    most = limits.max_judgements or limits.max_criteria * most_items
    batch: list[tuple[str, wire.Item]] = []
    judgements = 0
    for key, item in left.items():
        more = 1 if item.rubric is None else len(item.rubric.criteria)
        if batch and (len(batch) == most_items or judgements + more > most):
            yield batch
            batch, judgements = [], 0
        batch.append((key, item))
        judgements += more
    if batch:
        yield batch


def _judged(outcome: Outcome, item: wire.Item, rates: bool) -> Judged:
    count = 0 if rates or item.rubric is None else len(item.rubric.criteria)
    if isinstance(outcome, Failed):
        return Judged(None, (None,) * count, (outcome.error.code,))
    result = outcome.result
    met = () if rates else tuple(one.met for one in result.criteria)
    said = () if rates else tuple(one.model_dump(mode="json", exclude_none=True) for one in result.criteria)
    return Judged(result.score, met, tuple(one.status for one in result.criteria if one.status != "ok"), said)

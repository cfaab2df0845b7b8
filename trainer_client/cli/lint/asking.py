"""Asks a judge service about pairs of criteria for `rubricd lint --url`.

Guarantees: each pair is asked about in both orders. A pair without an answer gives no finding and is counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from trainer_client import wire
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import judge_option
from trainer_client.client import JudgeClient, Outcome, Scored
from trainer_client.lint import judged
from trainer_client.lint.judged import Pair
from trainer_client.lint.rules import told

_REPETITIONS = ("near_duplicate", "duplicate_text", "contradiction")


class Asked:
    """What a judge found for each rubric, and how many pairs it did not decide. `judge` is its fingerprint, after its
    name where it has one."""

    def __init__(self, findings: list[list[wire.Finding]], pairs: int, undecided: int, judge: str) -> None:
        self.findings = findings
        self.pairs = pairs
        self.undecided = undecided
        self.judge = judge


async def ask(
    client: JudgeClient,
    rubrics: Sequence[wire.Rubric],
    known: Sequence[Sequence[wire.Finding]],
    *,
    judge: str | None = None,
    quiet: bool,
) -> Asked:
    """Raises RubricdClientError where the service cannot be asked at all."""
    work = [
        (n, pair)
        for n, (rubric, findings) in enumerate(zip(rubrics, known, strict=True))
        for pair in judged.pairs(rubric, _repeated(rubric, findings))
    ]
    items = [item for n, pair in work for item in judged.questions(rubrics[n], pair)]
    info = await client.judge(judge)  # a service that is not there is one error, not one for each pair
    with progress(2 * len(items), quiet) as moved:
        outcomes = await client.score(items, on_outcome=lambda index, outcome: moved(2), **judge_option(judge))
    return _read(rubrics, work, outcomes, " ".join(filter(None, (info.name, info.fingerprint))))


def _repeated(rubric: wire.Rubric, findings: Sequence[wire.Finding]) -> set[int]:
    ids = list(rubric.ids())
    return {ids.index(one.criterion) for one in findings if one.criterion and one.code in _REPETITIONS}


def _read(
    rubrics: Sequence[wire.Rubric], work: Sequence[tuple[int, Pair]], outcomes: Sequence[Outcome], judge: str
) -> Asked:
    found: dict[int, list[Any]] = defaultdict(list)
    undecided = 0
    for (n, pair), first, second in zip(work, outcomes[::2], outcomes[1::2], strict=True):
        answers = [_met(outcome) for outcome in (first, second)]
        undecided += any(value is None for answer in answers for value in answer.values()) or not all(answers)
        one = judged.judged(rubrics[n], pair, answers)
        if one is not None:
            found[n].append(one)
    return Asked([told(rubric, found[n]) for n, rubric in enumerate(rubrics)], len(work), undecided, judge)


def _met(outcome: Outcome) -> dict[str, bool | None]:
    return {one.id: one.met for one in outcome.result.criteria} if isinstance(outcome, Scored) else {}

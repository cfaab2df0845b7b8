"""One criterion at a time, against all of a response's criteria at once: the same criteria, judged in both ways.

Mode `verdict`: one by one, each criterion stands alone behind the shared prefix. Packed, they stand behind each other,
and each verdict is read at its own place, so that it has seen the criteria before it. Mode `reasoned`: one document a
criterion, against one document for all (`batch: all`).

Tokens are those that the engine says it computed and wrote. The cases are the miniature's, whose truth is exact.

Guarantees: a verdict that is missing in either way is in no agreement, and is counted.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from unittest.mock import patch

import psutil

from miniature.world.cases import Case, evaluation
from service.clock import SystemClock
from service.engine.base import Engine, Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.build import LoadedJudge
from service.errors import JudgementError
from service.modes.batched import BatchedMode
from service.modes.label_verdict import read_verdict
from service.modes.modes import JudgingMode, ModeResult, Query, VerdictMode, render_prompts
from service.modes.registry import judging_modes
from service.modes.served_modes import BATCHED, Way
from service.rubrics.judgement import BatchVerdict, Verdict, abstains
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scheduling import Scheduler
from service.scoring.exam.asking import ask
from service.settings import ModeSettings, SchedulingSettings
from trainer_client.agreement.shares import wilson

ONE, PACKED, BATCH = "one by one", "packed", "batch: all"
DEFAULTS = ModeSettings()


@dataclass(slots=True)
class Arm:
    """`p` is in the order of all criteria; None without a verdict, and `missing` counts why. Seconds are of the clock
    and of the processors."""

    name: str
    p: list[float | None] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    written: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0


class CountingEngine:
    """Asks an engine, and counts for the arm that is `counted` what it computes and writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.counted = Arm("")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        outcomes = await self._engine.read_labels(prompts, label_ids)
        self._count(prompts, outcomes)
        return outcomes

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        outcomes = await self._engine.generate(prompts, samplings)
        self._count(prompts, outcomes)
        return outcomes

    def _count(self, prompts: Sequence[Prompt], outcomes: Sequence[Outcome | GenerationOutcome]) -> None:
        for prompt, one in zip(prompts, outcomes, strict=True):
            if isinstance(one, LabelLogprobs | Generation):
                self.counted.computed += len(prompt) - one.cached_tokens
            if isinstance(one, Generation):
                self.counted.written += one.tokens


class Bench:
    """One judge. Close it after use, and its engine as well."""

    def __init__(self, loaded: LoadedJudge, settings: ModeSettings = DEFAULTS) -> None:
        self.engine = CountingEngine(loaded.engine)
        self._modes = judging_modes(
            loaded.engine.identity,
            loaded.tokenizer,
            settings,
            unserved=loaded.unserved,
            limit_tokens=loaded.engine.max_model_len,
        )
        # The scheduler knows the engine by what it can be asked, and this can be asked the same.
        engine = cast(Engine, self.engine)
        self._scheduler = Scheduler(engine, SystemClock(), SchedulingSettings())
        self._scheduler.start()

    async def close(self) -> None:
        await self._scheduler.drain(0.0)

    async def verdicts(self, cases: int, seed: int, together: int = 1) -> dict[str, Any]:
        """Mode `verdict`."""
        mode = self._modes["verdict", "rubricd"]
        assert isinstance(mode, VerdictMode)
        alone, together_arm = Arm(ONE), Arm(PACKED)
        least = 0
        for asked in _parts(seed, cases, together):
            await self._ask(mode, [Query(one, criterion) for one in asked for criterion in one.criteria], alone)
            least += await self._ask_packed(mode, asked, together_arm)
        found = compared(alone, together_arm, truth(cases, seed))
        # A pass that reads labels at several places would compute a packed prompt once, and not its beginnings again.
        return {**found, "least_tokens_packed": least}

    async def documents(self, cases: int, seed: int, together: int = 4) -> dict[str, Any] | None:
        """Mode `reasoned`; None where the judge does not write."""
        alone_mode = self._modes.ways.get(Way(BATCHED.mode, BATCHED.layout))
        batch_mode = self._modes.ways.get(BATCHED)
        if alone_mode is None or not isinstance(batch_mode, BatchedMode):
            return None
        alone, batch = Arm(ONE), Arm(BATCH)
        for asked in _parts(seed, cases, together):
            await self._ask(alone_mode, [Query(one, criterion) for one in asked for criterion in one.criteria], alone)
            await self._ask(batch_mode, [Query(one, None) for one in asked], batch)
        return compared(alone, batch, truth(cases, seed))

    async def _ask(self, mode: JudgingMode, queries: Sequence[Query], arm: Arm) -> None:
        self.engine.counted = arm
        began_s, cpu_s = time.perf_counter(), processor_seconds()
        results = await ask(mode, queries, self._scheduler)
        arm.seconds += time.perf_counter() - began_s
        arm.cpu_s += processor_seconds() - cpu_s
        for query, result in zip(queries, results, strict=True):
            for one in _each(query, result):
                arm.p.append(_p(one, mode.judge.mass_floor))
                if arm.p[-1] is None:
                    arm.missing[str(one) if isinstance(one, JudgementError) else "abstained"] += 1

    async def _ask_packed(self, mode: VerdictMode, asked: Sequence[Candidate], arm: Arm) -> int:
        """The tokens that the packed prompts have, each criterion once."""
        self.engine.counted = arm
        found: list[Prompt] = []
        least = 0
        for one in asked:
            found += packed(render_prompts(mode.renderer, [Query(one, each) for each in one.criteria], "", 0))
            least += len(found[-1])
        began_s, cpu_s = time.perf_counter(), processor_seconds()
        outcomes = await self.engine.read_labels(found, mode.judge.label_ids)
        arm.seconds += time.perf_counter() - began_s
        arm.cpu_s += processor_seconds() - cpu_s
        arm.p += [read_verdict(one).p_met if isinstance(one, LabelLogprobs) else None for one in outcomes]
        return least


@contextmanager
def reading_anyway() -> Iterator[None]:
    """Inside, whatever a judge writes is an explanation: a weak judge repeats its criterion, and what its labels say
    behind that can then be compared."""
    with ExitStack() as stack:
        for place in ("modes", "batched"):
            stack.enter_context(patch(f"service.modes.{place}.why_no_explanation", lambda *_: None))
        yield


def _parts(seed: int, cases: int, together: int) -> Iterator[list[Candidate]]:
    for start in range(0, cases, together):
        yield [candidate(evaluation(seed, index)) for index in range(start, min(cases, start + together))]


def truth(cases: int, seed: int) -> list[bool]:
    return [met for index in range(cases) for met in evaluation(seed, index).met]


def candidate(case: Case) -> Candidate:
    criteria = tuple(Criterion(id=one.id, text=one.text, points=one.points) for one in case.criteria)
    return Candidate(case.id, tuple(Turn(*turn) for turn in case.turns), case.response, criteria)


def packed(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each criterion behind those before it: the shared part of each holds the whole of the one before."""
    found: list[Prompt] = []
    before = prompts[0].shared
    for prompt in prompts:
        found.append(replace(prompt, shared=before))
        before = (*before, *prompt.own)
    return found


def processor_seconds() -> float:
    """Of this process and of those below it."""
    own = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))


def _each(query: Query, result: ModeResult | JudgementError) -> Sequence[ModeResult | JudgementError]:
    """What was said about each criterion of the query."""
    if isinstance(result, BatchVerdict):
        return result.verdicts
    return [result] * (1 if query.criterion is not None else len(query.candidate.criteria))


def _p(result: ModeResult | JudgementError, floor: float) -> float | None:
    if not isinstance(result, Verdict) or abstains(result.label_mass, floor):
        return None
    return result.p_met


def compared(first: Arm, second: Arm, truth: Sequence[bool]) -> dict[str, Any]:
    """`both` are the criteria with a verdict in both ways, of which `same` is the share of the same verdict."""
    pairs = [(a, b) for a, b in zip(first.p, second.p, strict=True) if a is not None and b is not None]
    same = sum((a >= 0.5) is (b >= 0.5) for a, b in pairs)
    return {
        "criteria": len(truth),
        "both": len(pairs),
        "same": same / len(pairs) if pairs else None,
        "interval": wilson(same, len(pairs)),
        "mean_apart": sum(abs(a - b) for a, b in pairs) / len(pairs) if pairs else None,
        "largest_apart": max((abs(a - b) for a, b in pairs), default=None),
        "arms": {arm.name: _told(arm, truth) for arm in (first, second)},
    }


def _told(arm: Arm, truth: Sequence[bool]) -> dict[str, Any]:
    judged = [(p >= 0.5) is met for p, met in zip(arm.p, truth, strict=True) if p is not None]
    return {
        "judged": len(judged),
        "right": sum(judged) / len(judged) if judged else None,
        "right_interval": wilson(sum(judged), len(judged)),
        "met": sum(p >= 0.5 for p in arm.p if p is not None) / len(judged) if judged else None,
        "missing": dict(arm.missing),
        "computed_tokens": arm.computed,
        "written_tokens": arm.written,
        "seconds": round(arm.seconds, 2),
        "cpu_s": round(arm.cpu_s, 2),
        "verdicts_per_s": len(judged) / arm.seconds if arm.seconds else None,
        "verdicts_per_cpu_s": len(judged) / arm.cpu_s if arm.cpu_s else None,
        "p": arm.p,
    }


def table(title: str, found: dict[str, Any]) -> str:
    """The figures as lines to read."""
    heads = ("judged", "right", "computed", "written", "a second", "a CPU s")
    lines = [f"{title:<34}" + "".join(f"{head:>11}" for head in heads)]
    for name, arm in found["arms"].items():
        cells = (
            f"{arm['judged']}/{found['criteria']}",
            _number(arm["right"]),
            str(arm["computed_tokens"]),
            str(arm["written_tokens"]),
            _number(arm["verdicts_per_s"]),
            _number(arm["verdicts_per_cpu_s"]),
        )
        lines.append(f"{name:<34}" + "".join(f"{cell:>11}" for cell in cells))
    low, high = found["interval"]
    lines.append(f"the same verdict: {_number(found['same'])} [{low:.3f}, {high:.3f}] of {found['both']} criteria")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

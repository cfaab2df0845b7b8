"""Judges on fake engines, as members of compositions: a scorer for each engine, with caches and queues of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from service.cache.memory import MemoryCache
from service.clock import ManualClock
from service.engine.fake import FakeEngine, oracle
from service.judges.composition import Member
from service.modes.label_verdict import read_verdict
from service.modes.modes import ModeResult
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scheduling import Scheduler
from service.scoring.evaluator import Evaluator
from service.scoring.scorer import Scorer
from service.settings import ModeSettings, RuleSettings, SchedulingSettings
from service.verifiers.pool import RulePool
from testkit.remembered_modes import remembered_modes
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S


@asynccontextmanager
async def members(
    engines: Sequence[FakeEngine], clock: ManualClock, limits: SchedulingSettings | None = None
) -> AsyncIterator[tuple[list[Member], RulePool]]:
    """Members named m0, m1, …, and the rules that they share."""
    rules = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
    schedulers = [Scheduler(engine, clock, limits or SchedulingSettings()) for engine in engines]
    found: list[Member] = []
    for n, (engine, scheduler) in enumerate(zip(engines, schedulers, strict=True)):
        scheduler.start()
        asked = remembered_modes(engine.identity, family("qwen"), ModeSettings())
        evaluator = Evaluator(scheduler, MemoryCache[ModeResult](10_000))
        scorer = Scorer(judging_modes=asked, evaluator=evaluator, scheduler=scheduler, rules=rules, clock=clock)
        found.append(Member(f"m{n}", scorer))
    yield found, rules
    for scheduler in schedulers:
        await scheduler.drain(0)
    await rules.stop()


def candidate(response: str = "Rest it.", criteria: int = 4, points: float = 1.0) -> Candidate:
    return Candidate(
        id=response,
        turns=(Turn("user", "My knee hurts."),),
        response=response,
        criteria=tuple(Criterion(id=str(n), text=f"Criterion number {n}.", points=points) for n in range(criteria)),
    )


def truth(member: Member, asked: Candidate, seed: int) -> list[float]:
    """P(met) of each criterion as this member's engine has it."""
    judging_mode = member.judge.judging_modes.choose("verdict", "rubricd", None)
    [prompts] = judging_mode.renderer.render([(asked, asked.criteria)])
    return [read_verdict(oracle(prompt.ids, seed)).p_met for prompt in prompts]


def flights(found: Sequence[Member]) -> int:
    """Queries that requests wait for, at any member."""
    scorers = [member.judge for member in found if isinstance(member.judge, Scorer)]
    return sum(scorer.evaluator.flights for scorer in scorers)

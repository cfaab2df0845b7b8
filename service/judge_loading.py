"""Loads the judges of the deployment, each with its engine, modes, queue and scorer, and composes what is made of them.

Engines start one after the other: two that share a machine would measure each other's use of its memory.

Guarantees: each engine's judge gave a verdict on a canary and sat its exam before anything is served. What can be read
before an engine starts is. What was started ends with the stack, in reverse.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from service.api.dependencies import Dependencies
from service.api.operator_files.labelled_rows import built_in_exam
from service.cache.memory import MemoryCache
from service.cache.redis import RedisCache
from service.engine.base import Engine
from service.engine.build import LoadedJudge
from service.judge_preparing import PreparedJudge, connect, prepare, read_plan
from service.judges.cascade import Cascade
from service.judges.cascade_judgement import CascadePlan
from service.judges.composed_scorer import Composed, ComposedScorer
from service.judges.composition import Member
from service.judges.judge import ScoringJudge
from service.judges.judges import Deployed, Judges
from service.judges.panel import Panel
from service.judges.route_conditions import Condition
from service.judges.router import Router
from service.judges.rubricd.judge import RubricdJudge
from service.judges.shadow import Shadow
from service.judges.shadowed_judge import Shadowed
from service.modes.calibrated_modes import calibrated_levels, calibrated_modes
from service.modes.escalation import Escalation
from service.modes.modes import JudgingMode, ModeResult, RatingMode
from service.modes.registry import judging_modes, readable_modes
from service.modes.served_modes import COMPARED
from service.modes.text_modes import text_modes
from service.observability import Telemetry
from service.scheduling import Scheduler
from service.scoring.canary import LevelCanary
from service.scoring.canary_timer import watch
from service.scoring.evaluator import Evaluator
from service.scoring.exam.labelled_canaries import LabelledCanaries
from service.scoring.exam.proctor import NO_EXAM, NoExam, Proctor
from service.scoring.exam.questions import Question
from service.scoring.label_probe import answering_modes
from service.scoring.scorer import Scorer
from service.settings import Settings, deployment
from service.verifiers.pool import RulePool

log = logging.getLogger(__name__)

Builder = Callable[[Settings], Awaitable[LoadedJudge]]


@dataclass(frozen=True, slots=True)
class Running:
    """An engine's judge that serves."""

    engine: Engine
    scheduler: Scheduler
    scorer: Scorer


@dataclass(frozen=True, slots=True)
class Loader:
    """What the judges of a deployment share: the rules, the verdicts that are kept, and the stack that ends them."""

    parts: Dependencies
    build: Builder
    rules: RulePool
    store: MemoryCache[ModeResult]
    shared: RedisCache[ModeResult] | None
    stack: AsyncExitStack

    async def one(self, settings: Settings) -> tuple[Judges, dict[str, Running]]:
        """The one judge, without a name, that the settings describe. Raises ConfigurationError."""
        running = await self._start(PreparedJudge.of(settings), None)
        return Judges(running.scorer, [running.scorer]), {"": running}

    async def several(self, settings: Settings, file: deployment.JudgesFile) -> tuple[Judges, dict[str, Running]]:
        """The judges that the file names. Raises ConfigurationError."""
        prepared = {
            name: prepare(settings, name, entry)
            for name, entry in file.judges.items()
            if isinstance(entry, deployment.EngineJudge)
        }
        plans = {name: read_plan(name, one) for name, one in file.judges.items() if isinstance(one, deployment.Cascade)}
        running: dict[str, Running] = {}
        found: dict[str, Deployed] = {}
        for name in file.in_order():
            entry, required = file.judges[name], name in file.must_judge
            if isinstance(entry, deployment.EngineJudge):
                running[name] = await self._start(prepared[name], name)
                kind = running[name].engine.identity.engine
                found[name] = Deployed(name, kind, running[name].scorer, required=required)
                continue
            if isinstance(entry, deployment.RubricdJudge):
                other = await self._connect(name, entry)
                scorer: ScoringJudge = ComposedScorer(other, self.rules, self.parts.clock)
                found[name] = Deployed(name, other.kind, scorer, required=required)
                continue
            members = {member: found[member].judge for member in entry.members}
            below = tuple(found[member] for member in entry.members)
            if isinstance(entry, deployment.Shadow):
                shadowed = self._shadowed(name, entry, members)
                found[name] = Deployed(name, shadowed.kind, shadowed, shadowed.rule, required, below)
                continue
            composition = composed(name, entry, members, plans)
            scorer = ComposedScorer(composition, self.rules, self.parts.clock)
            found[name] = Deployed(name, composition.kind, scorer, composition.rule, required, below)
        in_order = [found[name] for name in file.judges]
        return Judges(in_order[0].judge, [one.scorer for one in running.values()], in_order), running

    async def _connect(self, name: str, entry: deployment.RubricdJudge) -> RubricdJudge:
        """Raises ConfigurationError that names the judge."""
        judge = await connect(name, entry, self.parts.clock, self.parts.telemetry.count_cost)
        self.stack.push_async_callback(judge.stop)
        identity = judge.judging_modes.first.judge
        self.parts.telemetry.of_judge(name).set_judge_info(identity.identity.model, judge.kind, identity.fingerprint)
        log.info("ready: judge %s (%s) at %s", name, identity.identity.model, entry.url)
        return judge

    def _shadowed(self, name: str, entry: deployment.Shadow, members: Mapping[str, ScoringJudge]) -> Shadowed:
        """The shadow ends before the engines do."""
        second, parts = members[entry.shadow], self.parts
        shadow = Shadow(entry.shadow, second, entry.share, parts.clock, parts.telemetry, parts.uses)
        shadow.start()
        self.stack.callback(shadow.stop)
        return Shadowed(name, members[entry.of], shadow, entry.share)

    async def _start(self, prepared: PreparedJudge, name: str | None) -> Running:
        """The engine, the modes, the queue and the scorer; then the canary gives its first verdict, or this raises."""
        settings, parts = prepared.settings, self.parts
        telemetry = parts.telemetry.of_judge(name or "")
        built = await self.build(settings)
        self.stack.push_async_callback(built.engine.stop)
        if built.reads_texts is not None:
            modes = text_modes(built.engine.identity, built.reads_texts, settings)
        else:
            modes = judging_modes(
                built.engine.identity,
                built.tokenizer,
                settings,
                prepared.grader,
                built.unserved,
                built.engine.max_model_len,
            )
        modes = readable_modes(modes, built.check_labels)
        escalation = Escalation.of(settings)
        modes = modes.replaced(calibrated_levels(modes.ways, prepared.level_calibrations))
        modes = modes.replaced(calibrated_modes(modes.ways, prepared.calibrations, escalates=escalation.band > 0))
        if name is not None:
            modes = modes.replaced({way: _named(mode, name) for way, mode in modes.ways.items()})
        scheduler = Scheduler(built.engine, parts.clock, settings, telemetry)
        scheduler.start()
        self.stack.push_async_callback(scheduler.drain, 0.0)
        modes, canary = await answering_modes(modes, scheduler)
        proctor = NO_EXAM if not settings.exam else Proctor(built_in_exam(), scheduler, parts.clock, telemetry)
        if isinstance(proctor, Proctor):
            log.info("the judge answers; before it serves it sits its exam (setting `exam`), minutes for a large one")
            await proctor.examine_first(one for way, one in modes.ways.items() if way[:2] != COMPARED)
            examining = asyncio.create_task(proctor.examine_options(modes.first), name="exam of options")
            self.stack.callback(examining.cancel)
        judge = modes.first.judge
        telemetry.set_judge_info(judge.identity.model, judge.identity.engine, judge.fingerprint)
        labelled = _labelled_canaries(prepared.canaries, proctor, modes.first, scheduler, telemetry)
        levels = LevelCanary(modes.first, scheduler)
        watching = watch(canary, labelled, settings.canary_every_s, parts.clock, telemetry, levels=levels)
        self.stack.callback(asyncio.create_task(watching, name="canary").cancel)
        who = judge.identity.model if name is None else f"{name} ({judge.identity.model})"
        log.info("ready: judge %s on %s, fingerprint %s", who, judge.identity.engine, judge.fingerprint)
        scorer = Scorer(
            judging_modes=modes,
            evaluator=Evaluator(scheduler, self.store, self.shared),
            scheduler=scheduler,
            rules=self.rules,
            clock=parts.clock,
            proctor=proctor,
            escalation=escalation,
        )
        return Running(built.engine, scheduler, scorer)


def composed(
    name: str,
    entry: deployment.Composition,
    members: Mapping[str, ScoringJudge],
    plans: Mapping[str, CascadePlan] = MappingProxyType({}),
) -> Composed:
    """Raises ConfigurationError where the members can be asked in no common way, or are not those of a plan."""
    of = [Member(member, judge) for member, judge in members.items()]
    if isinstance(entry, deployment.Panel):
        return Panel(name, entry.rule, entry.quorum or len(of), of)
    if isinstance(entry, deployment.Cascade):
        return Cascade(name, plans[name], of, passes_failures=entry.failures == "next")
    names = list(members)
    conditions = [Condition(one.tag, one.language, one.longer_than) for one in entry.routed]
    targets = [names.index(one.judge) for one in entry.routed] + [names.index(entry.default)]
    return Router(name, conditions, targets, of)


def _named(mode: JudgingMode, name: str) -> JudgingMode:
    changed: Any = mode  # each mode is a frozen dataclass with a `judge`
    named: JudgingMode = replace(changed, judge=replace(mode.judge, name=name))
    return named


def _labelled_canaries(
    canaries: Sequence[Question] | None,
    proctor: Proctor | NoExam,
    judging_mode: JudgingMode,
    scheduler: Scheduler,
    telemetry: Telemetry,
) -> LabelledCanaries | None:
    """The operator's, or else those of the exam, whose answers there are already. None without either, and for a way of
    judging that has no P(met)."""
    if isinstance(judging_mode, RatingMode):
        return None
    if canaries is not None:
        return LabelledCanaries(judging_mode, canaries, scheduler, telemetry)
    answers = proctor.answers_of(judging_mode.judge)
    if answers is None:
        return None
    labelled = LabelledCanaries(judging_mode, proctor.questions_for(judging_mode.judge), scheduler, telemetry)
    labelled.learn(answers)
    return labelled

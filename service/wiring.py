"""How the judge gets there: engine, prompts, queue, scorer; then the canary, which goes on being asked.

Always true: nothing is served before the judge gave a real verdict.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from service.cache.memory import MemoryCache
from service.engine.build import Built
from service.errors import ConfigurationError, RubricdError
from service.gauges import Judging, reading
from service.lifecycle import Served
from service.modes.escalation import Escalation
from service.modes.modes import ModeResult
from service.modes.registry import ModeOptions, judging_modes
from service.replicas import Replicas
from service.scheduling import Limits, Scheduler
from service.scoring.canary import Canary
from service.scoring.evaluator import Evaluator
from service.scoring.scorer import DEFAULT, Scorer
from service.settings import Settings
from service.verifiers.pool import RulePool

log = logging.getLogger(__name__)

Builder = Callable[[Settings], Awaitable[Built]]


async def load(served: Served, shared: Replicas, build: Builder, stack: AsyncExitStack) -> None:
    """Engine, prompts, queue, scorer; then the canary, then ready. What is opened closes with `stack`, in reverse."""
    settings = served.settings
    built = await build(settings)
    stack.push_async_callback(built.engine.stop)
    asked = judging_modes(built.engine.identity, built.tokenizer, _mode_options(settings))
    rules = RulePool(
        workers=settings.rule_workers, timeout_s=settings.rule_timeout_s, max_queued=settings.max_queued_checks
    )
    stack.push_async_callback(rules.stop)
    scheduler = Scheduler(built.engine, served.clock, _limits(settings), served.telemetry)
    scheduler.start()
    stack.push_async_callback(scheduler.drain, 0.0)
    canary = Canary(asked[DEFAULT], scheduler)
    await _first_answer(canary)
    store = MemoryCache[ModeResult](settings.cache_entries)
    scorer = Scorer(
        judging_modes=asked,
        evaluator=Evaluator(scheduler, store, shared.cache),
        scheduler=scheduler,
        rules=rules,
        clock=served.clock,
        escalation=_escalation(settings),
    )
    judge = asked[DEFAULT].judge
    judging = Judging(built.engine, scheduler, store)
    served.telemetry.set_gauge_source(partial(reading, served, shared.link, judging))
    served.telemetry.set_judge_info(judge.identity.model, judge.identity.engine, judge.fingerprint)
    served.serve(scorer, built.engine.max_model_len)
    if settings.canary_every_s > 0:
        watching = asyncio.create_task(_watch(canary, served), name="canary")
        stack.callback(watching.cancel)
    log.info("ready: judge %s on %s, fingerprint %s", judge.identity.model, judge.identity.engine, judge.fingerprint)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_batch_tokens=settings.max_batch_tokens,
        max_queued_tokens=settings.max_queued_tokens,
        max_in_flight=settings.max_in_flight,
        max_concurrent_generations=settings.max_writing,
        max_queue_s=settings.max_queue_s,
    )


def _mode_options(settings: Settings) -> ModeOptions:
    return ModeOptions(
        labels=settings.labels,
        mass_floor=settings.label_mass_floor,
        reasoned_tokens=settings.reasoned_tokens,
        explanation_chars=settings.explanation_chars,
        thought_tokens=settings.thought_tokens,
        temperature=settings.vote_temperature,
        grader=_grader(settings.healthbench_template),
        escalation=_escalation(settings),
    )


def _escalation(settings: Settings) -> Escalation:
    return Escalation(settings.escalate_band, settings.escalate_share)


def _grader(file: Path | None) -> str | None:
    try:
        return None if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"`healthbench_template` cannot be read: {error}") from error


async def _first_answer(canary: Canary) -> None:
    """A real verdict, or the judge does not serve."""
    try:
        await canary.ask()
    except RubricdError as error:
        raise ConfigurationError(
            f"the judge gave no verdict on a canary: {error.code}: {error}. "
            "Is it a chat model that can answer with one of the `labels`?"
        ) from error


async def _watch(canary: Canary, served: Served) -> None:
    """Ask the canaries again and again; what has drifted, or failed, is for the metrics and the operator."""
    while True:
        await served.clock.sleep(served.settings.canary_every_s)
        try:
            drift = await canary.ask()
        except RubricdError as error:
            served.telemetry.count_canary_failure(error.code)
            log.warning("the canaries were not answered: %s: %s", error.code, error)
        else:
            served.telemetry.set_canary_drift(drift)

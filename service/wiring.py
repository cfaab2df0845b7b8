"""The composition root builds every part of the service and joins them, from Redis and quotas to the judge that serves.

Guarantees: nothing is served before the judge gave a real verdict on a canary; without Redis, and whenever it fails,
each process keeps verdicts, quotas and replays in its own memory.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.api.dependencies import Dependencies
from service.api.verdict_ledger import VerdictLedger
from service.cache.memory import MemoryCache
from service.cache.redis import RedisCache
from service.clock import Clock
from service.errors import ConfigurationError
from service.idempotency import IdempotencyStore, MemoryIdempotencyStore, RedisIdempotencyStore
from service.judge_loading import Builder, Loader, Running
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.modes.modes import ModeResult
from service.observability import GaugeValues, Telemetry, monitor_event_loop
from service.observability.tracing import Tracing
from service.prompting.wording import prompts_for
from service.redis_client import RedisClient
from service.rubric_store.files import FileRubricStore
from service.rubric_store.memory import MemoryRubricStore
from service.rubric_store.redis import RedisRubricStore
from service.rubric_store.store import Room, RubricStore
from service.scoring.verdict_codec import decode, encode
from service.settings import (
    LedgerSettings,
    ObservabilitySettings,
    PrometheusSettings,
    Settings,
    TeamsFileSettings,
    TenancySettings,
)
from service.settings.deployment import JudgesFile
from service.settings.judges_file import read_judges
from service.tenancy.authentication import Authentication, NoAuthentication, TeamsFileAuthentication
from service.tenancy.quota import Ledger, MemoryLedger, MeteredLedger, quotas_of
from service.tenancy.redis_quota import RedisLedger
from service.verifiers.pool import RulePool

log = logging.getLogger(__name__)

_REPLAY_BYTES = 64 * 1024 * 1024
"""Memory of one process for answers that an `Idempotency-Key` may ask for again."""


@dataclass(frozen=True, slots=True)
class Composition:
    """The service without its routes."""

    settings: Settings
    dependencies: Dependencies
    tracing: Tracing
    shared: "SharedState"
    build: Builder
    file: JudgesFile | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The service runs while inside: the judge loads, serves and, when this is left, drains."""
        parts, telemetry = self.dependencies, self.dependencies.telemetry
        async with self.shared.running(), AsyncExitStack() as stack:
            if parts.verdict_ledger is not None:
                parts.verdict_ledger.start()
                stack.push_async_callback(asyncio.to_thread, parts.verdict_ledger.stop)
            stack.push_async_callback(self.tracing.stop)
            _run(stack, monitor_event_loop(telemetry.observe_event_loop_lag), "lag")
            if isinstance(parts.authentication, TeamsFileAuthentication):
                _run(stack, parts.authentication.watch(), "teams")
            load = partial(_load, self.settings, self.file, parts, self.shared, self.build, stack)
            async with parts.lifecycle.running(load, self.settings.drain_s):
                yield


def compose(settings: Settings, clock: Clock, lifecycle: Lifecycle[Judges], build: Builder) -> Composition:
    """Every part that does not need the judge. Connects to nothing yet. Raises ConfigurationError for a prompt, a file
    of judges or teams, a Redis URL, a tracing endpoint or a folder of metrics that cannot be used."""
    _check_metrics_folder(PrometheusSettings().prometheus_multiproc_dir)
    prompts_for(settings.prompt)  # before the judge, which may take minutes to load
    file = None if settings.judges is None else read_judges(settings.judges)
    telemetry = Telemetry(settings.metric_teams)
    tracing = _tracing(settings)
    shared = _shared_state(settings, clock, telemetry)
    dependencies = Dependencies(
        lifecycle=lifecycle,
        settings=settings,
        scheduling=settings,
        clock=clock,
        telemetry=telemetry,
        authentication=_authentication(settings, clock, telemetry),
        ledger=MeteredLedger(shared.ledger, telemetry),
        idempotency_store=shared.idempotency_store,
        rubric_store=shared.rubric_store,
        room=_room(settings),
        verdict_ledger=_verdict_ledger(settings, clock, telemetry),
    )
    telemetry.set_gauge_source(partial(_gauges, dependencies, shared))
    return Composition(settings, dependencies, tracing, shared, build, file)


def _check_metrics_folder(folder: Path | None) -> None:
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigurationError(
            f"PROMETHEUS_MULTIPROC_DIR is {folder}, which is no folder that can be written to; make it, or unset the "
            "variable, which one process does not need"
        )


def _authentication(settings: TeamsFileSettings, clock: Clock, telemetry: Telemetry) -> Authentication:
    if settings.teams is None:
        return NoAuthentication()
    return TeamsFileAuthentication(settings.teams, clock, telemetry.count_teams_reload)


def _tracing(settings: ObservabilitySettings) -> Tracing:
    """Raises ConfigurationError. The SDK is imported only where traces are exported."""
    if settings.otlp_endpoint is None:
        return Tracing()
    try:
        from service.observability.otlp import Otlp
    except ImportError as error:
        needs = f"`otlp_endpoint` needs the OpenTelemetry SDK ({error}): `pip install 'rubricd[tracing]'`"
        raise ConfigurationError(needs) from error
    return Otlp(settings.otlp_endpoint, settings.trace_sample)


# What processes share.


@dataclass(frozen=True, slots=True)
class SharedState:
    """The parts that processes on one Redis share. `cache` and `redis` are None where there is only memory."""

    ledger: Ledger
    idempotency_store: IdempotencyStore
    rubric_store: RubricStore
    cache: RedisCache[ModeResult] | None = None
    redis: RedisClient | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if self.redis is not None:
                await self.redis.start()
                stack.push_async_callback(self.redis.aclose)
            for part in (self.ledger, self.idempotency_store, self.cache):
                if isinstance(part, RedisLedger | RedisIdempotencyStore | RedisCache):
                    await part.start()
                    stack.push_async_callback(part.stop)
            yield


def _shared_state(settings: Settings, clock: Clock, telemetry: Telemetry) -> SharedState:
    """Raises ConfigurationError for a Redis URL that cannot be used."""
    ledger = MemoryLedger(clock)
    idempotency_store = MemoryIdempotencyStore(clock, settings.idempotency_s, _REPLAY_BYTES)
    rubric_store: RubricStore = MemoryRubricStore(clock, _room(settings))
    if settings.rubrics is not None:
        rubric_store = FileRubricStore(settings.rubrics, _room(settings))
    if settings.redis_url is None:
        return SharedState(ledger, idempotency_store, rubric_store)
    fault = telemetry.count_redis_fault
    redis = RedisClient(settings.redis_url, timeout_s=settings.redis_timeout_s, clock=clock, on_fault=fault)
    if settings.rubrics is None:
        rubric_store = RedisRubricStore(redis, clock, _room(settings))
    return SharedState(
        ledger=RedisLedger(redis, clock, ledger),
        rubric_store=rubric_store,
        idempotency_store=RedisIdempotencyStore(redis, clock, settings.idempotency_s, idempotency_store),
        cache=RedisCache[ModeResult](
            redis, clock, encode=encode, decode=decode, ttl_s=settings.cache_ttl_s, faulted=fault
        ),
        redis=redis,
    )


def _verdict_ledger(settings: LedgerSettings, clock: Clock, telemetry: Telemetry) -> VerdictLedger | None:
    """Raises ConfigurationError for a folder that cannot be used."""
    folder = settings.ledger
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"`ledger` is {folder}, which cannot be made: {error.strerror}; choose another folder"
        ) from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"`ledger` is {folder}, which cannot be written to; choose another folder")
    return VerdictLedger(folder, settings.ledger_file_bytes, clock, telemetry.count_ledger)


def _room(settings: TenancySettings) -> Room:
    return Room(settings.rubrics_per_team, settings.rubric_bytes_per_team)


# The judges.


async def _load(
    settings: Settings,
    file: JudgesFile | None,
    parts: Dependencies,
    shared: SharedState,
    build: Builder,
    stack: AsyncExitStack,
) -> Judges:
    """The judges, each after its first verdict on a canary. What is opened closes with `stack`, in reverse."""
    rules = RulePool(settings, parts.telemetry)
    stack.push_async_callback(rules.stop)
    store = MemoryCache[ModeResult](settings.cache_entries)
    loader = Loader(parts, build, rules, store, shared.cache, stack)
    judges, running = await (loader.one(settings) if file is None else loader.several(settings, file))
    parts.telemetry.set_gauge_source(partial(_gauges, parts, shared, _Judging(judges, running, store, rules)))
    return judges


@dataclass(frozen=True, slots=True)
class _Judging:
    """The gauges read these once the judges have loaded."""

    judges: Judges
    running: Mapping[str, Running]
    store: MemoryCache[ModeResult]
    rules: RulePool


# What Prometheus reads.


def _gauges(parts: Dependencies, shared: SharedState, judging: _Judging | None = None) -> GaugeValues:
    quotas = quotas_of(parts.authentication.teams)
    reserved = dict.fromkeys((team for team, quota in quotas if "tokens" in quota), 0)
    reserved.update(parts.ledger.reserved())
    redis_up = None if shared.redis is None else shared.redis.up
    quotas_shared = shared.ledger.shared if quotas and isinstance(shared.ledger, RedisLedger) else None
    file_ok, read_at_s = parts.authentication.file_ok, parts.authentication.read_at_s
    if judging is None:
        return GaugeValues(
            redis_up=redis_up,
            quotas_shared=quotas_shared,
            teams_file_ok=file_ok,
            teams_file_read_at_s=read_at_s,
            limits=quotas,
            reserved=reserved,
        )
    running = judging.running.values()
    queued: Counter[tuple[str, str]] = Counter()
    for one in running:
        queued.update(one.scheduler.queued_by())
    return GaugeValues(
        ready=parts.lifecycle.why_not_ready is None,
        queued=queued,
        queue_limit_tokens=_sum_of_known(one.scheduler.limit_tokens for one in running),
        tokens_per_s=_sum_of_known(one.scheduler.tokens_per_s for one in running),
        in_flight_tokens=sum(one.scheduler.in_flight_tokens for one in running),
        cache_entries=len(judging.store),
        engine_restarts=sum(one.engine.restarts for one in running),
        redis_up=redis_up,
        quotas_shared=quotas_shared,
        teams_file_ok=file_ok,
        teams_file_read_at_s=read_at_s,
        limits=quotas,
        reserved=reserved,
        waiting_checks=judging.rules.waiting_by_team,
        judges_ready={name: one.judge.unavailable_reason is None for name, one in judging.judges.deployed.items()},
        queued_at={name: one.scheduler.queued_tokens for name, one in judging.running.items() if name},
        tokens_per_s_of={
            name: one.scheduler.tokens_per_s
            for name, one in judging.running.items()
            if name and one.scheduler.tokens_per_s is not None
        },
    )


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _run(stack: AsyncExitStack, work: Coroutine[object, object, None], name: str) -> None:
    """Runs in the background until `stack` closes."""
    stack.callback(asyncio.create_task(work, name=name).cancel)

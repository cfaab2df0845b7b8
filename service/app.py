"""The composition root: the only file that knows every floor. Builds the onion from the engine outward.

Always true: the process is alive before the judge is (`/healthz`), ready only after the judge gave a real verdict on a
canary (`/readyz`), and not ready from the moment it drains. What was accepted is finished before it stops.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware

from service.admission.roster import Anyone, Door
from service.api import problems
from service.api.compat.routes import Compat
from service.api.middleware import BodyLimit, Requests
from service.api.openapi import openapi
from service.api.playground import PAGE_ROUTE, page
from service.api.routes import Routes
from service.api.score import Scoring
from service.api.served import Served
from service.cache.store import MemoryStore
from service.clock import Clock, SystemClock
from service.engine.build import Built
from service.engine.build import build as build_engine
from service.errors import ConfigurationError, RubricdError
from service.replicas import Replicas, replicas
from service.scheduling import Limits, Scheduler
from service.scoring.asking import Asker
from service.scoring.canary import Canary
from service.scoring.escalation import Escalation
from service.scoring.panel import Manner, ways
from service.scoring.rules import RulePool
from service.scoring.scorer import DEFAULT, Scorer
from service.scoring.ways import Said
from service.settings import Settings
from service.telemetry import Telemetry

log = logging.getLogger(__name__)

Builder = Callable[[Settings], Awaitable[Built]]


def create_app(
    settings: Settings,
    *,
    build: Builder = build_engine,
    clock: Clock | None = None,
    ready: Callable[[], None] = lambda: None,
    failed: Callable[[BaseException], None] = lambda error: None,
) -> FastAPI:
    """The service as an ASGI app. `ready` is called once it serves, or `failed` with why it cannot. Raises
    ConfigurationError for a teams file or a Redis URL that cannot be used."""
    telemetry, clock = Telemetry(), clock or SystemClock()
    shared = replicas(settings, clock, telemetry)
    door = Anyone() if settings.teams is None else Door.open(settings.teams, clock, telemetry.teams_reloaded)
    served = Served(settings, clock, telemetry, door=door, ledger=shared.ledger, replays=shared.replays)
    routes, scoring = Routes(served), Scoring(served)
    app = FastAPI(
        title="rubricd",
        version="1",
        summary="The rubric reward server for reinforcement learning.",
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_lifespan, served=served, shared=shared, build=build, ready=ready, failed=failed),
        exception_handlers=problems.HANDLERS,
    )
    app.state.served = served
    for path in ("/v1/score", "/score", "/v1/rubric/score"):
        app.add_api_route(path, scoring.score, methods=["POST"], include_in_schema=path == "/v1/score")
    for path, translated in Compat(served, scoring).routes().items():
        app.add_api_route(path, translated, methods=["POST"], include_in_schema=False)
    app.add_api_route("/v1/rubrics/lint", routes.lint, methods=["POST"])
    app.add_api_route("/v1/judge", routes.judge, methods=["GET"])
    for path, endpoint in (("/healthz", routes.healthz), ("/readyz", routes.readyz), ("/metrics", routes.metrics)):
        app.add_api_route(path, endpoint, methods=["GET"])
    app.add_api_route(PAGE_ROUTE, page, methods=["GET"], include_in_schema=False)
    app.openapi = partial(openapi, app)  # type: ignore[method-assign]
    known = {route.path for route in app.routes if hasattr(route, "path")}
    app.user_middleware = [
        Middleware(Requests, telemetry=telemetry, routes=known),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
    ]
    return app


@asynccontextmanager
async def _lifespan(
    app: FastAPI,
    *,
    served: Served,
    shared: Replicas,
    build: Builder,
    ready: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> AsyncIterator[None]:
    """`app.state.drain`, callable from a signal handler, begins the end; the end itself drains in any case."""
    loop, drain = asyncio.get_running_loop(), asyncio.Event()
    app.state.drain = lambda: loop.call_soon_threadsafe(drain.set)
    async with shared.running(), AsyncExitStack() as stack:
        if isinstance(served.door, Door):
            watching = asyncio.create_task(served.door.watch(), name="teams")
            stack.callback(watching.cancel)
        loading = asyncio.create_task(_load(served, shared, build, stack), name="load")
        loading.add_done_callback(partial(_loaded, served=served, ready=ready, failed=failed))
        draining = asyncio.create_task(_drain_when(drain, served), name="drain")
        yield
        drain.set()
        loading.cancel()
        await asyncio.gather(loading, draining, return_exceptions=True)


async def _drain_when(drain: asyncio.Event, served: Served) -> None:
    await drain.wait()
    await served.drain()


def _loaded(
    loading: asyncio.Task[None],
    *,
    served: Served,
    ready: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> None:
    if loading.cancelled():
        return
    if (error := loading.exception()) is None:
        ready()
    else:
        served.state = "failed"
        failed(error)


async def _load(served: Served, shared: Replicas, build: Builder, stack: AsyncExitStack) -> None:
    """Engine, prompts, queue, scorer; then the canary, then ready. What is opened closes with `stack`, in reverse."""
    settings = served.settings
    built = await build(settings)
    stack.push_async_callback(built.engine.stop)
    asked = ways(built.engine.identity, built.tokenizer, _manner(settings))
    rules = RulePool(
        workers=settings.rule_workers, timeout_s=settings.rule_timeout_s, max_queued=settings.max_queued_checks
    )
    stack.push_async_callback(rules.stop)
    scheduler = Scheduler(built.engine, served.clock, _limits(settings))
    scheduler.start()
    stack.push_async_callback(scheduler.drain, 0.0)
    canary = Canary(asked[DEFAULT], scheduler)
    await _first_answer(canary)
    scorer = Scorer(
        ways=asked,
        asker=Asker(scheduler, MemoryStore[Said](settings.cache_entries), shared.cache),
        scheduler=scheduler,
        rules=rules,
        clock=served.clock,
        escalation=_escalation(settings),
    )
    judge = asked[DEFAULT].judge
    served.telemetry.watch_queue(scheduler.queued_by)
    served.telemetry.judge_serves(judge.identity.model, judge.identity.engine, judge.fingerprint)
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
        max_writing=settings.max_writing,
        max_queue_s=settings.max_queue_s,
    )


def _manner(settings: Settings) -> Manner:
    return Manner(
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
            served.telemetry.canary_failed(error.code)
            log.warning("the canaries were not answered: %s: %s", error.code, error)
        else:
            served.telemetry.canary_drifted(drift)

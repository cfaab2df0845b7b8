"""The composition root: the only file that knows every floor. Builds the onion from the engine outward.

Always true: the process is alive before the judge is (`/healthz`), ready only after the judge gave a real verdict on a
canary (`/readyz`), and not ready from the moment it drains. What was accepted is finished before it stops.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware

from service.api import problems
from service.api.middleware import BodyLimit, Requests
from service.api.openapi import openapi
from service.api.playground import PAGE_ROUTE, page
from service.api.routes import Routes
from service.api.served import Served
from service.cache.store import MemoryStore
from service.clock import Clock, SystemClock
from service.engine.build import Built
from service.engine.build import build as build_engine
from service.errors import ConfigurationError
from service.scheduling import Limits, Scheduler
from service.scoring.judge import name_judge
from service.scoring.layout import skeleton
from service.scoring.prompt import Renderer
from service.scoring.rubric import Candidate, Criterion, Turn
from service.scoring.rules import RulePool
from service.scoring.scorer import Options, Scorer
from service.scoring.segments import Segmenter
from service.scoring.verdict import Verdict
from service.settings import Settings
from service.telemetry import Telemetry

log = logging.getLogger(__name__)

Builder = Callable[[Settings], Awaitable[Built]]

CANARY = Candidate(
    id="canary",
    turns=(Turn("user", "What should I do about a headache?"),),
    response="Drink some water and get some rest.",
    criteria=(Criterion(id="0", text="Tells the user to get some rest.", points=1.0),),
)


def create_app(
    settings: Settings,
    *,
    build: Builder = build_engine,
    clock: Clock | None = None,
    failed: Callable[[BaseException], None] = lambda error: None,
) -> FastAPI:
    """The service as an ASGI app. `failed` hears of a judge that cannot serve, once."""
    telemetry = Telemetry()
    served = Served(settings, clock or SystemClock(), telemetry)
    routes = Routes(served)
    app = FastAPI(
        title="rubricd",
        version="1",
        summary="The rubric reward server for reinforcement learning.",
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_lifespan, served=served, build=build, failed=failed),
        exception_handlers=problems.HANDLERS,
    )
    app.state.served = served
    for path in ("/v1/score", "/score", "/v1/rubric/score"):
        app.add_api_route(path, routes.score, methods=["POST"], include_in_schema=path == "/v1/score")
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
    app: FastAPI, *, served: Served, build: Builder, failed: Callable[[BaseException], None]
) -> AsyncIterator[None]:
    """`app.state.drain`, callable from a signal handler, begins the end; the end itself drains in any case."""
    loop, drain = asyncio.get_running_loop(), asyncio.Event()
    app.state.drain = lambda: loop.call_soon_threadsafe(drain.set)
    async with AsyncExitStack() as stack:
        loading = asyncio.create_task(_load(served, build, stack), name="load")
        loading.add_done_callback(partial(_loaded, served=served, failed=failed))
        draining = asyncio.create_task(_drain_when(drain, served), name="drain")
        yield
        drain.set()
        loading.cancel()
        await asyncio.gather(loading, draining, return_exceptions=True)


async def _drain_when(drain: asyncio.Event, served: Served) -> None:
    await drain.wait()
    await served.drain()


def _loaded(loading: asyncio.Task[None], *, served: Served, failed: Callable[[BaseException], None]) -> None:
    error = None if loading.cancelled() else loading.exception()
    if error is not None:
        served.state = "failed"
        failed(error)


async def _load(served: Served, build: Builder, stack: AsyncExitStack) -> None:
    """Engine, prompt, queue, scorer; then the canary, then ready. What is opened closes with `stack`, in reverse."""
    settings = served.settings
    built = await build(settings)
    stack.push_async_callback(built.engine.stop)
    renderer = Renderer(Segmenter(built.tokenizer), skeleton(built.tokenizer))
    judge = name_judge(
        built.engine.identity,
        renderer.skeleton,
        mode="verdict",
        labels=settings.labels,
        label_ids=renderer.label_ids(settings.labels),
        mass_floor=settings.label_mass_floor,
    )
    rules = RulePool(workers=settings.rule_workers, timeout_s=settings.rule_timeout_s)
    stack.push_async_callback(rules.stop)
    limits = Limits(settings.max_batch_tokens, settings.max_queued_tokens, settings.max_in_flight)
    scheduler = Scheduler(partial(built.engine.read_labels, label_ids=judge.label_ids), served.clock, limits)
    scheduler.start()
    stack.push_async_callback(scheduler.drain, 0.0)
    scorer = Scorer(
        judge=judge,
        renderer=renderer,
        scheduler=scheduler,
        store=MemoryStore[Verdict](settings.cache_entries),
        rules=rules,
        clock=served.clock,
    )
    await _canary(scorer)
    served.telemetry.watch_queue(lambda: scheduler.queued_tokens)
    served.telemetry.judge_serves(judge.identity.model, judge.identity.engine, judge.fingerprint)
    served.serve(scorer, built.engine.max_model_len)
    log.info("ready: judge %s on %s, fingerprint %s", judge.identity.model, judge.identity.engine, judge.fingerprint)


async def _canary(scorer: Scorer) -> None:
    """A real verdict, or the judge does not serve."""
    [scored], _ = await scorer.score([CANARY], Options())
    judgement = scored.judgements[0]
    if not judgement.ok:
        raise ConfigurationError(
            f"the judge gave no verdict on a canary: {judgement.status}: {judgement.detail}. "
            "Is it a chat model that can answer with one of the `labels`?"
        )

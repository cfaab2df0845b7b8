"""The composition root: the only file that knows every floor. Builds the onion from the engine outward.

Always true: the process is alive before the judge is (`/healthz`), ready only after the judge gave a real verdict on a
canary (`/readyz`), and not ready from the moment it drains. What was accepted is finished before it stops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware

from service.api import problems
from service.api.middleware import BodyLimit, Closing, Requests
from service.api.openapi import openapi
from service.api.playground import PAGE_ROUTE, page
from service.api.protocols.routes import Compat
from service.api.routes import Routes
from service.api.score import Scoring
from service.clock import Clock, SystemClock
from service.engine.build import build as build_engine
from service.errors import ConfigurationError
from service.gauges import reading
from service.lifecycle import Served
from service.observability import Telemetry, monitor_event_loop
from service.observability.tracing import UNTRACED, Tracing
from service.replicas import Replicas, replicas
from service.settings import Settings
from service.tenancy.authentication import NoAuthentication, TeamsFileAuthentication
from service.tenancy.metered import MeteredLedger
from service.wiring import Builder, load


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
    telemetry, tracing, clock = Telemetry(settings.metric_teams), _tracing(settings), clock or SystemClock()
    shared = replicas(settings, clock, telemetry)
    door = (
        NoAuthentication()
        if settings.teams is None
        else TeamsFileAuthentication.open(settings.teams, clock, telemetry.count_teams_reload)
    )
    ledger = MeteredLedger(shared.ledger, telemetry)
    served = Served(settings, clock, telemetry, door=door, ledger=ledger, idempotency_store=shared.idempotency_store)
    telemetry.set_gauge_source(partial(reading, served, shared.link))
    routes, scoring = Routes(served), Scoring(served)
    app = FastAPI(
        title="rubricd",
        version="1",
        summary="The rubric reward server for reinforcement learning.",
        docs_url=None,
        redoc_url=None,
        lifespan=partial(
            _lifespan, served=served, shared=shared, tracing=tracing, build=build, ready=ready, failed=failed
        ),
        exception_handlers=problems.HANDLERS,
    )
    app.state.served = served
    app.state.drain = app.state.hurry = lambda: None
    compat = Compat(served, scoring)
    for path in (own := ("/v1/score", "/score", "/v1/rubric/score")):
        app.add_api_route(path, scoring.score, methods=["POST"], include_in_schema=path == "/v1/score")
    for path, translated in compat.routes().items():
        app.add_api_route(path, translated, methods=["POST"], include_in_schema=False)
    app.add_api_route("/v1/rubrics/lint", routes.lint, methods=["POST"])
    app.add_api_route("/v1/judge", routes.judge, methods=["GET"])
    for path, endpoint in (("/healthz", routes.healthz), ("/readyz", routes.readyz), ("/metrics", routes.metrics)):
        app.add_api_route(path, endpoint, methods=["GET"])
    app.add_api_route(PAGE_ROUTE, page, methods=["GET"], include_in_schema=False)
    app.openapi = partial(openapi, app)  # type: ignore[method-assign]
    known = {route.path for route in app.routes if hasattr(route, "path")}
    app.user_middleware = [
        Middleware(Closing, closing=lambda: served.state == "draining"),
        Middleware(Requests, telemetry=telemetry, tracing=tracing, routes=known, judging={*own, *compat.judging}),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
    ]
    return app


def _tracing(settings: Settings) -> Tracing:
    """Raises ConfigurationError. OpenTelemetry is imported only where traces are wanted."""
    if settings.otlp_endpoint is None:
        return UNTRACED
    try:
        from service.observability.otlp import Otlp
    except ImportError as error:
        needs = f"`otlp_endpoint` needs OpenTelemetry ({error}): `pip install 'rubricd[tracing]'`"
        raise ConfigurationError(needs) from error
    return Otlp(settings.otlp_endpoint, settings.trace_sample)


@asynccontextmanager
async def _lifespan(
    app: FastAPI,
    *,
    served: Served,
    shared: Replicas,
    tracing: Tracing,
    build: Builder,
    ready: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> AsyncIterator[None]:
    """`app.state.drain`, callable from a signal handler, begins the end, and `app.state.hurry` gives what is left no
    more time; `app.state.drained` is set when nothing is left. The end itself drains in any case."""
    loop, drain, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    app.state.drain = lambda: loop.call_soon_threadsafe(drain.set)
    app.state.hurry = lambda: loop.call_soon_threadsafe(hurry.set)
    app.state.drained = asyncio.Event()
    async with shared.running(), AsyncExitStack() as stack:
        stack.push_async_callback(tracing.stop)
        lagging = asyncio.create_task(monitor_event_loop(served.telemetry.observe_event_loop_lag), name="lag")
        stack.callback(lagging.cancel)
        if isinstance(served.door, TeamsFileAuthentication):
            watching = asyncio.create_task(served.door.watch(), name="teams")
            stack.callback(watching.cancel)
        loading = asyncio.create_task(load(served, shared, build, stack), name="load")
        loading.add_done_callback(partial(_loaded, served=served, ready=ready, failed=failed))
        app.state.loading = loading
        draining = asyncio.create_task(_drain_when(drain, hurry, loading, served, app.state.drained), name="drain")
        yield
        drain.set()
        await asyncio.gather(loading, draining, return_exceptions=True)


async def _drain_when(
    drain: asyncio.Event, hurry: asyncio.Event, loading: asyncio.Task[None], served: Served, drained: asyncio.Event
) -> None:
    """First of all nobody becomes ready any more."""
    await drain.wait()
    loading.cancel()
    hurrying = asyncio.create_task(_hurry_when(hurry, served), name="hurry")
    try:
        await served.drain(served.settings.drain_s)
    finally:
        hurrying.cancel()
        drained.set()


async def _hurry_when(hurry: asyncio.Event, served: Served) -> None:
    await hurry.wait()
    await served.drain(0.0)


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

"""The app has the service's routes and middleware, all in this one place.

Guarantees: the process is alive before the judge is (`/healthz`), ready only after the judge gave a real verdict on a
canary (`/readyz`), and not ready from the moment it drains. Accepted work is finished before it stops.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware

from service import wiring
from service.api import problems
from service.api.bodies.unpacking import UnpackedBodies
from service.api.bodies.worker_threads import WorkerThreads
from service.api.caller_check import LocalCallers
from service.api.compare import CompareRoute
from service.api.live import LIVE_ROUTE, LiveRoute
from service.api.metrics_page import MetricsPage
from service.api.middleware import BodyLimit, HeadAsGet, RequestTelemetry
from service.api.openapi import openapi, openapi_route
from service.api.pages import LIVE_PAGE_ROUTE, PAGE_ROUTE, live, playground
from service.api.protocols.routes import ProtocolRoutes
from service.api.reference import DOCS_ROUTE, reference
from service.api.routes import Routes
from service.api.rubrics.editing import RubricEditing
from service.api.rubrics.routes import RubricRoutes
from service.api.rubrics.stored import StoredRubrics
from service.api.score import ScoreRoute
from service.clock import Clock, SystemClock
from service.engine.build import build as build_engine
from service.judge_loading import Builder
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.observability import Telemetry
from service.settings import Settings

SCORE_ROUTES = ("/v1/score", "/score", "/v1/rubric/score")
COMPARE_ROUTE = "/v1/compare"


def create_app(
    settings: Settings,
    *,
    lifecycle: Lifecycle[Judges] | None = None,
    build: Builder = build_engine,
    clock: Clock | None = None,
) -> FastAPI:
    """The service as an ASGI app. The caller's `lifecycle` says how far it is and ends it; `lifecycle_of` returns the
    app's own where none was given. Raises ConfigurationError for a teams file or a Redis URL that cannot be used."""
    lifecycle = lifecycle or Lifecycle()
    composition = wiring.compose(settings, clock or SystemClock(), lifecycle, build)
    dependencies = composition.dependencies

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with composition.running():
            yield

    app = FastAPI(
        title="rubricd",
        version="1",
        summary="The rubric reward server for reinforcement learning.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        root_path=settings.root_path,
        lifespan=lifespan,
        exception_handlers=problems.HANDLERS,
    )
    app.state.lifecycle, app.state.telemetry = lifecycle, dependencies.telemetry
    app.state.metrics = MetricsPage(dependencies.telemetry, settings.metrics_key)
    app.openapi = partial(openapi, app)  # type: ignore[method-assign]

    threads = WorkerThreads()
    stored = StoredRubrics(dependencies.rubric_store, settings, threads)
    routes, scoring = Routes(dependencies, threads, stored), ScoreRoute(dependencies, threads, stored)
    protocols = ProtocolRoutes(dependencies, scoring)
    _add_routes(app, routes, scoring, CompareRoute(dependencies, threads, stored), protocols)
    _add_rubric_routes(app, RubricRoutes(dependencies, threads, stored), RubricEditing(dependencies, threads))
    _add_metrics(app, settings, LiveRoute(app.state.metrics, dependencies.telemetry, lifecycle, dependencies.clock))
    app.user_middleware = [  # outermost first
        Middleware(
            RequestTelemetry,
            telemetry=dependencies.telemetry,
            tracing=composition.tracing,
            routes={route.path for route in app.routes if hasattr(route, "path")},
            judging={*SCORE_ROUTES, COMPARE_ROUTE, *protocols.judging},
            lifecycle=lifecycle,
            root_path=settings.root_path,
        ),
        *([Middleware(LocalCallers)] if settings.teams is None else []),
        Middleware(HeadAsGet),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
        Middleware(UnpackedBodies, max_bytes=settings.max_body_bytes),
    ]
    return app


def _add_routes(
    app: FastAPI, routes: Routes, scoring: ScoreRoute, comparing: CompareRoute, protocols: ProtocolRoutes
) -> None:
    for path in SCORE_ROUTES:
        app.add_api_route(path, scoring.score, methods=["POST"], include_in_schema=path == "/v1/score")
    app.add_api_route(COMPARE_ROUTE, comparing.compare, methods=["POST"])
    for path, endpoint in protocols.routes().items():
        app.add_api_route(path, endpoint, methods=["POST"], include_in_schema=False)
    app.add_api_route("/v1/models", protocols.models, methods=["GET"], include_in_schema=False)
    app.add_api_route("/v1/rubrics/lint", routes.lint, methods=["POST"])
    app.add_api_route("/v1/judge", routes.judge, methods=["GET"])
    app.add_api_route("/v1/usage", routes.usage, methods=["GET"])
    app.add_api_route("/healthz", routes.healthz, methods=["GET"])
    app.add_api_route("/readyz", routes.readyz, methods=["GET"])
    app.add_api_route("/openapi.json", openapi_route(app), methods=["GET"], include_in_schema=False)
    app.add_api_route(DOCS_ROUTE, reference, methods=["GET"], include_in_schema=False)
    app.add_api_route(PAGE_ROUTE, playground, methods=["GET"], include_in_schema=False)


def _add_metrics(app: FastAPI, settings: Settings, feed: LiveRoute) -> None:
    """Where metrics have a port of their own, what is made of them is there, too."""
    page = metrics_of(app)
    if settings.metrics_port is not None:
        page.serve(LIVE_ROUTE, feed.live)
        page.serve(LIVE_PAGE_ROUTE, live)
        return
    app.add_api_route("/metrics", page.metrics, methods=["GET"])
    app.add_api_route(LIVE_ROUTE, feed.live, methods=["GET"])
    app.add_api_route(LIVE_PAGE_ROUTE, live, methods=["GET"], include_in_schema=False)


def _add_rubric_routes(app: FastAPI, rubrics: RubricRoutes, editing: RubricEditing) -> None:
    app.add_api_route("/v1/rubrics/read", editing.read, methods=["POST"])
    app.add_api_route("/v1/rubrics/fix", editing.fix, methods=["POST"])
    app.add_api_route("/v1/rubrics", rubrics.everything, methods=["GET"])
    for method, endpoint in (("GET", rubrics.get), ("DELETE", rubrics.remove)):
        app.add_api_route("/v1/rubrics/{name}@{version}", endpoint, methods=[method])
    for method, endpoint in (("PUT", rubrics.put), ("GET", rubrics.versions)):
        app.add_api_route("/v1/rubrics/{name}", endpoint, methods=[method])


def metrics_of(app: FastAPI) -> MetricsPage:
    """The page of metrics of an app that `create_app` made, for a port of its own."""
    page: MetricsPage = app.state.metrics
    return page


def telemetry_of(app: FastAPI) -> Telemetry:
    telemetry: Telemetry = app.state.telemetry
    return telemetry


def lifecycle_of(app: FastAPI) -> Lifecycle[Judges]:
    """The lifecycle of an app that `create_app` made."""
    lifecycle: Lifecycle[Judges] = app.state.lifecycle
    return lifecycle

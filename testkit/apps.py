"""The service as an app in this process, with the fake engine and a real tokenizer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from service import judge_loading
from service.app import create_app, lifecycle_of
from service.clock import ManualClock
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.scoring.canary import CANARY_CANDIDATES
from service.scoring.scorer import Scorer
from service.settings import Settings
from testkit.remembered_modes import remembered_modes
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S

vars(judge_loading)["judging_modes"] = remembered_modes
CANARIES = sum(len(candidate.criteria) for candidate in CANARY_CANDIDATES)


def fake_settings(**changes: Any) -> Settings:
    return Settings(**{"engine": "fake", "exam": False, "rule_timeout_s": HUNG_S, "drain_s": 0.0, **changes})


@asynccontextmanager
async def started(app: FastAPI, clock: ManualClock | None = None, step_s: float = 0.0) -> AsyncIterator[None]:
    """The app's life, from the moment its loading has ended."""
    async with app.router.lifespan_context(app):
        while lifecycle_of(app).state == "loading":
            await asyncio.sleep(0.001)
            if clock is not None:
                await clock.advance(step_s)
        yield


@asynccontextmanager
async def serving(
    engine: FakeEngine | None = None,
    *,
    clock: ManualClock | None = None,
    settings: Settings | None = None,
    canary_s: float = 0.0,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that serves `engine`. The canary is one of the engine's calls; the clock goes on for it."""
    engine = engine or FakeEngine()

    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"))

    app = create_app(settings or fake_settings(), build=build, clock=clock)
    async with started(app, clock if canary_s else None, canary_s), client_of(app) as client:
        yield client


def app_of(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


def scorer_of(client: httpx.AsyncClient) -> Scorer:
    """The scorer of the app that this client asks. Raises Unavailable where it cannot be asked now."""
    found = lifecycle_of(app_of(client)).judge().named()
    assert isinstance(found, Scorer)
    return found


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=HUNG_S) as client:
        yield client


def item(**changes: Any) -> dict[str, Any]:
    rubric = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]
    return {"prompt": "My knee hurts.", "response": "Rest it.", "rubric": rubric, **changes}

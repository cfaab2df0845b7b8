"""Builds the engine of the tests' replicas: the fake judge, slow enough to have work in flight, down on request."""

import asyncio
import os
from pathlib import Path

from service.engine.build import LoadedJudge, build
from service.engine.fake import FakeEngine, FaultPlan
from service.settings import Settings

PLAN = FaultPlan(batch_s=0.03, token_s=2e-5)
_LOOK_S = 0.05


async def slow(settings: Settings) -> LoadedJudge:
    """By files in the folder `RAY_TEST`: with `down-PID` its engine is down, with `hold` nobody's answers."""
    built = await build(settings)
    engine = FakeEngine(plan=PLAN, remember=0, sleep=_held)
    engine.watching = asyncio.create_task(_follow(engine))  # type: ignore[attr-defined]  # kept from being collected
    return LoadedJudge(engine, built.tokenizer)


async def prompt(settings: Settings) -> LoadedJudge:
    """The same judge, at once."""
    return LoadedJudge(FakeEngine(), (await build(settings)).tokenizer)


async def _held(seconds: float) -> None:
    await asyncio.sleep(seconds)
    while _file("hold").exists():
        await asyncio.sleep(_LOOK_S)


async def _follow(engine: FakeEngine) -> None:
    while not engine.stopped:
        engine.down = "told to be down" if _file(f"down-{os.getpid()}").exists() else None
        await asyncio.sleep(_LOOK_S)


def _file(name: str) -> Path:
    return Path(os.environ["RAY_TEST"]) / name

"""`python -m testkit.slow_service serve FLAGS`: the service, its fake judge held up by files, so that a test decides
when what is in flight goes on. `HOLD` names a file: as long as it is there no batch is answered. `LOADING` names one:
as long as it is there the judge loads, in a call that nothing can interrupt. `KILL` names one: as long as it is there
whatever is judged ends the process, as a request does that takes all of its memory.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import service.__main__
from service.engine import build
from service.engine.base import Engine
from service.engine.fake import FakeEngine, FaultPlan
from service.settings import EngineSettings

_LOOK_S = 0.01
_BATCH_S = 0.3


def _there(name: str) -> bool:
    return name in os.environ and Path(os.environ[name]).exists()


async def _held(seconds: float) -> None:
    if _there("KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(seconds)
    while _there("HOLD"):
        await asyncio.sleep(_LOOK_S)


def _load() -> Engine:
    while _there("LOADING"):
        time.sleep(_LOOK_S)
    return FakeEngine(plan=FaultPlan(batch_s=_BATCH_S), sleep=_held)


async def _slow(settings: EngineSettings, judge: str) -> Engine:
    return await asyncio.to_thread(_load)


if __name__ == "__main__":
    build.ENGINES = {**build.ENGINES, "fake": _slow}
    sys.exit(service.__main__.main())

"""Scenarios for the processes that Prometheus watches: each causes what its alerts look for, and ends the cause.

Guarantees: A load goes on before, during and after a cause.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from testkit.faulty_service import Faults
from testkit.free_port import free_port
from testkit.processes import Host, hosted
from testkit.prometheus import retarget
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from tests.deploy.alerting import Job, again_and_again, flood, group, running

WELL = Faults()
_numbers = itertools.count()
AGREEING = Faults(seed=8)
"""A judge whose P(met) says more of the labelled canaries than that of WELL."""
WAITED_S = 62.0
"""More than the minute that RubricdQueueWaitHigh looks for."""


@dataclass(frozen=True, slots=True)
class Served:
    """A process, and the file by which it is told what goes wrong."""

    host: Host
    faults: Path

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.host.port}"

    def tell(self, faults: Faults) -> None:
        faults.tell(self.faults)

    async def until_ready(self) -> None:
        await asyncio.to_thread(replace(self.host, ready="/readyz").until_ready)

    def kill(self) -> None:
        """It says nothing to anybody."""
        for child in psutil.Process(self.host.process.pid).children():
            child.kill()


@asynccontextmanager
async def serving(
    folder: Path, name: str, *flags: str, faults: Faults = WELL, redis_url: str = "", port: int | None = None
) -> AsyncIterator[Served]:
    """A process that listens, and is ready unless its faults are in the way."""
    file, port = folder / f"{name}.faults", port or free_port()
    faults.tell(file)
    command = [sys.executable, "-m", "testkit.faulty_service", "serve", "--engine", "fake", "--port", str(port), *flags]
    env = {"FAULTS": str(file), "RUBRICD_REDIS_URL": redis_url}
    with ExitStack() as stack:
        host = hosted(command, log=folder / f"{name}.log", port=port, ready="/healthz", env=env)
        served = Served(await asyncio.to_thread(stack.enter_context, host), file)
        if not faults.loading:
            await served.until_ready()
        yield served


def failing(folder: Path, redis: RedisServer) -> AbstractAsyncContextManager[Served]:
    (folder / "kept").mkdir()
    place(folder / "ledger", "kept")
    flags = ("--canary-every-s", "0.3", "--protocol-neutral", "0", "--ledger", str(folder / "ledger"))
    return serving(folder, "failing", *flags, redis_url=redis.url)


def place(link: Path, folder: str | None) -> None:
    """At the link's place stands a link to the folder of this name, or a file. One takes the other's place at once:
    the service would make a folder that is missing."""
    new = link.with_suffix(".new")
    if folder is None:
        new.touch()
    else:
        new.symlink_to(folder)
    new.replace(link)


async def fail(job: Job, served: Served, redis: RedisServer, ledger: Path) -> None:
    """Batches fail, the judge abstains, its engine is restarted, Redis is full, and something stands in the ledger's
    place."""
    slime = {"prompt": "What helps?", "response": "Rest.", "label": {"rubric": [{"text": "Says rest.", "points": 1}]}}
    judging = ("RubricdJudgementsFailing", "RubricdAbstentionsHigh", "RubricdCanaryFailing", "RubricdNeutralRewards")
    engine = ("RubricdEngineFailing", "RubricdEngineRestarted", "RubricdRedisErrors", "RubricdLedgerIncomplete")
    url = served.host.url
    async with running(
        again_and_again(url, "/v1/score", lambda: {"items": [group()]}, 0.15),
        again_and_again(url, "/rm?reply=object", lambda: slime | {"response": f"Rest {next(_numbers)}."}, 0.3),
    ):
        await asyncio.sleep(2)
        await asyncio.to_thread(redis.do, "CONFIG", "SET", "maxmemory", "1")
        place(ledger, None)
        served.tell(Faults(rates={"batch": 0.3, "low_mass": 0.5}, restarts=1))
        await job.fires(*judging, *engine)
        await asyncio.to_thread(redis.do, "CONFIG", "SET", "maxmemory", "0")
        place(ledger, "kept")
        served.tell(Faults(restarts=1))
        await job.clears(*judging, *engine)


def drifting(folder: Path) -> AbstractAsyncContextManager[Served]:
    return serving(folder, "drifting", "--canary-every-s", "0.3", "--max-model-len", "1500", faults=AGREEING)


async def drift(job: Job, served: Served) -> None:
    """Another judge answers under the same name, shares no prefixes, is asked what is too long for it and what meets a
    bug, and every group is told the same."""
    alerts = (
        "RubricdCalibrationDrift",
        "RubricdCanaryDrift",
        "RubricdCriteriaUnjudgeable",
        "RubricdInternalErrors",
        "RubricdPrefixSharingLow",
        "RubricdZeroVariance",
    )
    url, well = served.host.url, True

    def asked() -> dict[str, Any]:
        return {"items": [group(alike=not well), *([] if well else [group(responses=1, words=2000)])]}

    async with running(
        again_and_again(url, "/v1/score", asked, 0.15),
        again_and_again(url, "/v1/score", lambda: {"items": [group(id="fine" if well else "bug")]}, 1.0),
    ):
        await asyncio.sleep(2)
        well = False
        served.tell(Faults(shares=False))
        await job.fires(*alerts)
        well = True
        served.tell(AGREEING)
        await job.clears(*alerts)


class Replica:
    """A second replica, of a job whose judge is not its own at first; it has teams, and shares by Redis."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self._folder = folder
        self._redis = redis
        self._port = free_port()
        self._teams = folder / "teams.json"
        self._write_teams()

    def _write_teams(self) -> None:
        write(self._teams, team("rich"), team("poor", quota={"requests_per_minute": 1}))

    def serving(self, *flags: str, faults: Faults = WELL) -> AbstractAsyncContextManager[Served]:
        always = ("--teams", str(self._teams), "--canary-every-s", "0")
        url = self._redis.url
        return serving(self._folder, "replica", *always, *flags, faults=faults, redis_url=url, port=self._port)

    def first(self) -> AbstractAsyncContextManager[Served]:
        """It loads, until it is told otherwise."""
        return self.serving("--label-mass-floor", "0.4", faults=Faults(loading=True))

    async def die(self, job: Job, served: Served) -> None:
        """Its judge comes late and is another one; a team asks too much; its teams file breaks and its Redis goes; it
        is stopped now and then; it is killed, and comes back as the job's judge."""
        together = ("RubricdQuotaExhausted", "RubricdRedisUnavailable", "RubricdTeamsFileInvalid")
        await job.fires("RubricdNotReady")
        served.tell(WELL)
        await served.until_ready()
        await job.clears("RubricdNotReady")
        async with running(self._load("rich")):
            async with running(self._load("poor")):
                self._teams.write_text("{")
                self._redis.kill()
                await job.fires("RubricdJudgesDiffer", *together)
            self._redis.start()
            self._write_teams()
            await job.clears(*together)
            async with running(_stumble(served)):
                await job.fires("RubricdEventLoopLag")
            await job.clears("RubricdEventLoopLag")
            served.kill()
            await job.fires("RubricdDown")
            await job.clears("RubricdJudgesDiffer")
            async with self.serving():
                await job.clears("RubricdDown")

    def _load(self, name: str) -> Coroutine[Any, Any, None]:
        url = f"http://127.0.0.1:{self._port}"
        return again_and_again(url, "/v1/score", lambda: {"items": [group()]}, 0.15, headers=auth(name))


async def _stumble(served: Served) -> None:
    """It is stopped again and again, each time before its loop wakes up, a quarter of a second after the last time."""
    try:
        while True:
            served.host.pause()
            await asyncio.sleep(0.4)
            served.host.resume()
            await asyncio.sleep(0.2)
    finally:
        served.host.resume()


def slow(folder: Path) -> AbstractAsyncContextManager[Served]:
    limits = ("--max-batch-tokens", "512", "--max-queued-tokens", "60000")
    return serving(folder, "slow", "--canary-every-s", "0", *limits)


async def wait(job: Job, served: Served) -> None:
    """Its judge answers nothing for more than a minute, while more is asked than may wait."""
    url, held = served.host.url, True

    def asked() -> dict[str, Any] | None:
        return {"items": [group()]} if held else None

    async with running(again_and_again(url, "/v1/score", lambda: {"items": [group()]}, 0.25)):
        await asyncio.sleep(2)
        async with running(flood(url, asked, 0.05)):
            served.tell(Faults(held=True))
            began = time.monotonic()
            await job.fires("RubricdQueueFull", "RubricdOverloaded")
            await asyncio.sleep(WAITED_S - (time.monotonic() - began))
            held = False
            served.tell(Faults(batch_s=0.1))
            async with asyncio.TaskGroup() as together:
                together.create_task(job.fires("RubricdQueueWaitHigh"))
                together.create_task(job.clears("RubricdQueueFull", "RubricdOverloaded"))
        served.tell(WELL)
        await job.clears("RubricdQueueWaitHigh")


def doubting(folder: Path) -> AbstractAsyncContextManager[Served]:
    """Two of its judges agree as often as coins do, and a panel goes on without its second member."""
    file = folder / "judges.yaml"
    file.write_text(
        "judges:\n  watched: {shadow: second, of: alone, share: 1}\n  alone: {engine: fake}\n"
        "  second: {engine: fake, prompt: bare}\n  both: {panel: [alone, far], quorum: 1}\n"
        "  far: {engine: fake, revision: far}\n"
    )
    return serving(folder, "doubting", "--canary-every-s", "0", "--judges", str(file))


async def doubt(job: Job, served: Served) -> None:
    """A shadow says otherwise, until it is asked no more; a panel's member is unavailable for a while."""
    judge = "watched"
    async with running(
        again_and_again(served.host.url, "/v1/score", lambda: {"items": [group()], "judge": judge}, 0.15)
    ):
        served.tell(Faults(lost="far"))
        await job.fires("RubricdShadowDiffers", "RubricdJudgeUnavailable")
        judge = "alone"
        served.tell(WELL)
        await job.clears("RubricdShadowDiffers", "RubricdJudgeUnavailable")


async def go_unwatched(job: Job, folder: Path, served: Served) -> None:
    """Prometheus has no target, and then one."""
    await job.fires("RubricdMetricsMissing")
    retarget(folder, "rubricd", [served.target])
    await job.clears("RubricdMetricsMissing")

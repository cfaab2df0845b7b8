"""Two replicas with a marked judge on one Redis, and what can go wrong with each of them."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

import psutil

from loadtests.oracle.requests import TEAMS
from testkit import teams_file
from testkit.faulty_service import Faults
from testkit.free_port import free_port
from testkit.processes import Host, hosted
from testkit.redis import RedisServer

USUAL = Faults(batch_s=0.01)
"""Long enough that something is in flight whenever a fault comes."""
FAILING = {"batch": 0.2, "crash": 0.1, "some": 0.2, "few": 0.1, "many": 0.1, "nan": 0.1, "low_mass": 0.1}


@dataclass(slots=True)
class Replica:
    """One service, which is started again on the same port after it was killed."""

    folder: Path
    name: str
    teams: Path
    redis_url: str
    port: int = field(default_factory=free_port)
    starts: int = 0
    host: Host | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tell(self, faults: Faults) -> None:
        faults.tell(self.folder / f"{self.name}.faults")

    def start(self) -> None:
        """Returns when it is ready to judge."""
        self.starts += 1
        flags = ["--engine", "fake", "--teams", str(self.teams), "--canary-every-s", "0", "--drain-s", "1"]
        command = [sys.executable, "-m", "testkit.oracle_service", "serve", "--port", str(self.port), *flags]
        env = {"FAULTS": str(self.folder / f"{self.name}.faults"), "RUBRICD_REDIS_URL": self.redis_url}
        log = self.folder / f"{self.name}-{self.starts}.log"
        self.host = self.stack.enter_context(hosted(command, log=log, port=self.port, ready="/readyz", env=env))

    def restart(self) -> None:
        """After its death: what is left of it ends first."""
        self.stack.close()
        self.start()

    def kill(self) -> None:
        assert self.host is not None
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.host.process.pid).children():
                os.kill(child.pid, signal.SIGKILL)


class World:
    """Everything that the callers meet. At most one replica is down at a time."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer()
        self.teams = folder / "teams.json"
        self.write_teams()
        self.replicas = [Replica(folder, name, self.teams, self.redis.url) for name in ("first", "second")]
        self.random = Random(7)
        self._restarting: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        for replica in self.replicas:
            replica.tell(USUAL)
            replica.start()
        return self

    def __exit__(self, *error: object) -> None:
        for replica in self.replicas:
            replica.stack.close()
        self.redis.close()

    def write_teams(self) -> None:
        part = self.teams.with_suffix(".part")
        quota = {"concurrent_tokens": 10_000_000}
        teams_file.write(part, *(teams_file.team(name, quota=quota) for name in TEAMS))
        part.replace(self.teams)

    def tell(self, faults: Faults) -> None:
        for replica in self.replicas:
            replica.tell(faults)

    async def kill(self) -> None:
        """Kills either, and starts it again in the background."""
        await self.whole()
        replica = self.random.choice(self.replicas)
        await asyncio.sleep(0.05)
        replica.kill()
        self._restarting = asyncio.create_task(asyncio.to_thread(replica.restart))

    async def whole(self) -> None:
        """Waits until both replicas are there."""
        if self._restarting is not None:
            await self._restarting
            self._restarting = None


@asynccontextmanager
async def engine_fails(world: World) -> AsyncIterator[None]:
    """Batches that fail, crash, lose or double an outcome, or give numbers that are none."""
    world.tell(Faults(rates=FAILING, batch_s=0.01))  # type: ignore[arg-type]
    yield
    world.tell(USUAL)


@asynccontextmanager
async def engine_hangs(world: World) -> AsyncIterator[None]:
    world.tell(Faults(held=True, batch_s=0.01))
    await asyncio.sleep(0.3)
    world.tell(USUAL)
    yield


@asynccontextmanager
async def engine_is_slow(world: World) -> AsyncIterator[None]:
    """So that deadlines pass."""
    world.tell(Faults(batch_s=0.15))
    yield
    world.tell(USUAL)


@asynccontextmanager
async def replica_is_killed(world: World) -> AsyncIterator[None]:
    killing = asyncio.create_task(world.kill())
    yield
    await killing


@asynccontextmanager
async def replica_stops(world: World) -> AsyncIterator[None]:
    await world.whole()
    host = world.random.choice(world.replicas).host
    assert host is not None
    host.pause()
    going_on = asyncio.get_running_loop().call_later(0.5, host.resume)
    yield
    going_on.cancel()
    host.resume()


@asynccontextmanager
async def redis_dies(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.redis.kill)
    yield
    await asyncio.to_thread(world.redis.start)


@asynccontextmanager
async def redis_stops(world: World) -> AsyncIterator[None]:
    world.redis.stop()
    yield
    world.redis.cont()


@asynccontextmanager
async def redis_forgets(world: World) -> AsyncIterator[None]:
    emptying = asyncio.create_task(_empty(world))
    yield
    emptying.cancel()
    await asyncio.wait({emptying})


async def _empty(world: World) -> None:
    while True:
        await asyncio.to_thread(world.redis.do, "FLUSHALL")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def teams_file_breaks(world: World) -> AsyncIterator[None]:
    world.teams.unlink()
    os.mkfifo(world.teams)
    yield
    world.write_teams()


@asynccontextmanager
async def callers_leave(world: World) -> AsyncIterator[None]:
    """The callers themselves see to it: see `FAULTS`."""
    yield


FAULTS: dict[str, Callable[[World], AbstractAsyncContextManager[None]]] = {
    "engine fails": engine_fails,
    "replica killed": replica_is_killed,
    "Redis killed": redis_dies,
    "callers leave": callers_leave,
    "engine hangs": engine_hangs,
    "replica stopped": replica_stops,
    "Redis stopped": redis_stops,
    "engine slow": engine_is_slow,
    "Redis emptied": redis_forgets,
    "teams file broken": teams_file_breaks,
}
"""In turn, each beside its share of the requests. `callers leave`: half of the requests are sent twice, and the first
sending is given up at once."""

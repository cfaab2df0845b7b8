"""Several processes in one test: a SharedCache in memory, and a scorer on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.cache.memory import MemoryCache
from service.cache.shared import Lookup
from service.clock import ManualClock
from service.engine.fake import FakeEngine
from service.errors import QuotaExceeded
from service.modes.modes import ModeResult
from service.modes.served_modes import JudgingModes
from service.scheduling import Scheduler
from service.scoring.evaluator import Evaluator
from service.scoring.scorer import Scorer
from service.settings import ModeSettings, RuleSettings, SchedulingSettings
from service.verifiers.pool import RulePool
from testkit.remembered_modes import remembered_modes
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S

Known = Callable[[bytes, ModeResult], None]
Mine = Callable[[Sequence[bytes]], None]
Modes = JudgingModes
Calibrate = Callable[[Modes], Modes]


class Pool:
    """What the askers share: verdicts, and who judges what."""

    def __init__(self) -> None:
        self.values: dict[bytes, ModeResult] = {}
        self.holders: dict[bytes, Sharing] = {}
        self.members: list[Sharing] = []

    def member(self) -> "Sharing":
        self.members.append(Sharing(self))
        return self.members[-1]


class Sharing:
    """One asker's end of the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.watched: dict[bytes, tuple[Known, Mine]] = {}
        self.looked_up = 0

    async def look_up(self, keys: Sequence[bytes]) -> Lookup[ModeResult]:
        self.looked_up += 1
        pool = self._pool
        known = {key: pool.values[key] for key in keys if key in pool.values}
        missing = [key for key in keys if key not in known]
        mine = [key for key in missing if pool.holders.setdefault(key, self) is self]
        return Lookup(known, frozenset(mine), frozenset(missing) - set(mine))

    def watch(self, keys: Sequence[bytes], known: Known, mine: Mine) -> None:
        self.watched.update((key, (known, mine)) for key in keys)

    def unwatch(self, key: bytes) -> None:
        self.watched.pop(key, None)

    def put(self, key: bytes, value: ModeResult) -> None:
        assert self._pool.holders.pop(key) is self
        self._pool.values[key] = value
        for member in self._pool.members:
            if watching := member.watched.pop(key, None):
                watching[0](key, value)

    def overwrite(self, key: bytes, value: ModeResult) -> None:
        self._pool.values[key] = value

    def release(self, key: bytes) -> None:
        if self._pool.holders.get(key) is not self:
            return
        del self._pool.holders[key]
        for member in self._pool.members:
            if watching := member.watched.pop(key, None):
                self._pool.holders[key] = member
                watching[1]([key])
                return


@asynccontextmanager
async def replica(
    engine: FakeEngine,
    pool: Pool,
    clock: ManualClock | None = None,
    limits: SchedulingSettings | None = None,
    calibrate: Calibrate = lambda modes: modes,
) -> AsyncIterator[tuple[Scorer, Sharing]]:
    clock = clock or ManualClock()
    scheduler = Scheduler(engine, clock, limits or SchedulingSettings())
    scheduler.start()
    rules, shared = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S)), pool.member()
    evaluator = Evaluator(scheduler, MemoryCache[ModeResult](10_000), shared)
    asked = calibrate(remembered_modes(engine.identity, family("qwen"), ModeSettings()))
    yield Scorer(judging_modes=asked, evaluator=evaluator, scheduler=scheduler, rules=rules, clock=clock), shared
    await scheduler.drain(0)
    await rules.stop()


@dataclass
class Budget:
    """A quota that counts what is reserved and what is settled. One token alone is a look at what is left, which is
    counted apart."""

    left: int = 10**9
    looks: int = 0
    reserved: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)

    async def reserve(self, tokens: int) -> "Budget":
        await asyncio.sleep(0)
        if tokens > self.left:
            raise QuotaExceeded("the team's quota is used up", 7.0)
        if tokens == 1:
            self.looks += 1
            return Budget()
        self.reserved.append(tokens)
        return self

    def settle(self, used_tokens: int) -> None:
        self.settled.append(used_tokens)

"""What waits to be written is written in order, bounded, and lost as a counted fault where Redis is unavailable."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from service.cache import write_behind
from service.cache.leases import Leases
from service.cache.write_behind import WriteBehind, verdict_name
from service.clock import ManualClock
from service.redis_client import RedisUnavailable
from testkit.waiting import HUNG_S, until
from tests.service.cache.replicas import LEASE_S, key, keys, replica


class Link:
    """A Redis that notes commands."""

    def __init__(self) -> None:
        self.breaker_open = False
        self.available = True
        self.commands: list[Sequence[Any]] = []

    async def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[object]:
        await asyncio.sleep(0)
        if not self.available:
            raise RedisUnavailable
        self.commands += commands
        return [True] * len(commands)


def writer(link: Any, faults: list[str]) -> tuple[WriteBehind, Leases]:
    leases = Leases(link, ManualClock(), "a", LEASE_S)
    return WriteBehind(link, leases, 60, faults.append), leases


async def test_a_verdict_is_written_before_its_lease_is_released() -> None:
    link, faults = Link(), list[str]()
    writing, leases = writer(link, faults)
    leases.record(keys(2))
    writing.put(key(0), b"verdict")
    writing.release(key(1))
    writing.release(key(2))  # not held: nothing to write
    await writing.stop()
    assert [command[0] for command in link.commands] == ["SET", "EVAL", "EVAL"]
    assert link.commands[0] == ("SET", verdict_name(key(0)), b"verdict", "EX", 60)
    assert (len(leases), faults) == (0, [])


async def test_what_overwrites_leaves_the_lease_that_another_request_holds() -> None:
    link = Link()
    writing, leases = writer(link, [])
    leases.record(keys(1))
    writing.overwrite(key(0), b"verdict")
    await writing.stop()
    assert [command[0] for command in link.commands] == ["SET"] and len(leases) == 1


async def test_what_waits_is_bounded_and_what_redis_cannot_take_is_a_counted_fault(monkeypatch: Any) -> None:
    monkeypatch.setattr(write_behind, "_MAX_PENDING", 100)
    link, faults = Link(), list[str]()
    writing, leases = writer(link, faults)
    for one in keys(130):
        writing.put(one, b"verdict")
    assert faults == ["unwritten"] * 30
    link.available = False
    leases.record([key(200)])
    await writing.stop()
    assert faults == ["unwritten"] * 130
    link.breaker_open = True
    writing.release(key(200))
    assert (len(link.commands), len(leases)) == (0, 0)


async def test_what_is_pending_when_it_stops_is_written(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "_STOP_S", HUNG_S)
    async with replica(redis_url, "a") as a, replica(redis_url, "b") as b:
        await a.cache.look_up(keys(1200))
        a.keep(keys(1000))
        await a.cache.stop()
        looked = await b.cache.look_up(keys(1200))
        assert len(looked.known) == 1000
        b.watch(list(looked.elsewhere))
        await until(lambda: len(b.mine) == 200)

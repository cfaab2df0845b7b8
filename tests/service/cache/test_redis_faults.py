"""Whatever Redis does, no call of the cache raises or is wrong, and when it ends the cache works again.

Each fault goes on while two replicas ask 100 times, watch what is elsewhere and keep what is theirs.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from service.cache.redis import add_checksum
from service.clock import ManualClock
from service.redis_client import Argument, RedisClient
from testkit.redis import RedisServer
from testkit.waiting import HUNG_S
from tests.service.cache.replicas import Replica, key, keys, lease_name, replica, truth, value_name

OPERATIONS = 100
TIMEOUT_S = 0.5


@dataclass(frozen=True)
class Fault:
    """How it begins and ends, and what must have been counted."""

    begin: Callable[[RedisServer], object]
    end: Callable[[RedisServer], object]
    counted: set[str]


def plant_lists(server: RedisServer) -> None:
    with server.client() as client:
        for one in keys(2 * OPERATIONS):
            client.delete(value_name(one))
            client.lpush(value_name(one), "x")
            client.lpush(lease_name(one), "x")


def corrupt(server: RedisServer) -> None:
    """Also what looks right: the true value, value for another key."""
    with server.client() as client:
        for n, one in enumerate(keys(2 * OPERATIONS)):
            client.set(value_name(one), [b"", b"\x01nothing", add_checksum(key(n + 1), truth(one).encode())][n % 3])


def load_slowly(server: RedisServer) -> None:
    server.do("EVAL", "for n = 1, 300 do redis.call('SET', n, string.rep('x', 5000)) end", 0)
    server.do("SAVE")
    server.restart("--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024", answers=False)
    while not server.listens():
        time.sleep(0.01)


FAULTS = {
    "killed": Fault(RedisServer.kill, RedisServer.start, {"connection"}),
    "stopped": Fault(RedisServer.stop, RedisServer.cont, {"timeout"}),
    "out of memory": Fault(
        lambda server: server.do("CONFIG", "SET", "maxmemory", 1),
        lambda server: server.do("CONFIG", "SET", "maxmemory", 0),
        {"oom"},
    ),
    "loading": Fault(load_slowly, RedisServer.wait, {"loading"}),
    "read-only": Fault(
        lambda server: server.do("REPLICAOF", "127.0.0.1", 1),
        lambda server: server.do("REPLICAOF", "NO", "ONE"),
        {"readonly"},
    ),
    "wrong type": Fault(plant_lists, lambda server: server.do("FLUSHALL"), {"wrong_type"}),
    "corrupted": Fault(corrupt, lambda server: server.do("FLUSHALL"), {"corrupt"}),
    "emptied": Fault(lambda server: server.do("FLUSHALL"), lambda server: server.do("FLUSHALL"), set()),
}


async def ask(a: Replica, wanted: list[bytes]) -> None:
    """What one request does. Every key is known, or judged here, or told of while it is watched."""
    looked = await a.cache.look_up(wanted)
    assert looked.known.keys() | looked.mine | looked.elsewhere == set(wanted)
    assert len(looked.known) + len(looked.mine) + len(looked.elsewhere) == len(wanted)
    assert all(value == truth(one) for one, value in looked.known.items())
    a.watch(list(looked.elsewhere))
    a.keep(list(looked.mine))


async def told(*replicas: Replica) -> None:
    """Nobody waits for ever."""
    for _ in range(400):
        for one in replicas:
            a_mine, one.mine[:] = list(one.mine), []
            one.keep(a_mine)
        await asyncio.sleep(0.005)
        if not any(one.cache.watched for one in replicas):
            return
    raise AssertionError("some were never told")


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_a_miss_and_never_wrong_and_it_ends(name: str) -> None:
    fault, clock = FAULTS[name], ManualClock()
    with RedisServer() as server:
        async with (
            replica(server.url, "a", timeout_s=TIMEOUT_S, link_clock=clock) as a,
            replica(server.url, "b", timeout_s=TIMEOUT_S, link_clock=clock) as b,
        ):
            await ask(a, keys(OPERATIONS // 2))
            await asyncio.sleep(0.05)
            fault.begin(server)
            began_s = time.monotonic()
            for n in range(OPERATIONS):
                await asyncio.gather(ask(a, keys(5, first=n)), ask(b, keys(5, first=n)))
            took_s = time.monotonic() - began_s
            await told(a, b)
            fault.end(server)
            counted = a.faults + b.faults
            assert fault.counted <= set(counted)
            if fault.counted & {"connection", "timeout", "loading"}:
                assert took_s < 20 * TIMEOUT_S
                assert a.link.breaker_open and b.link.breaker_open
            await clock.advance(1)
            async with asyncio.timeout(HUNG_S):
                while a.link.breaker_open or b.link.breaker_open:
                    await asyncio.sleep(0.005)
            await works(a, b)
            assert all(value == truth(one) for one, value in [*a.known, *b.known])


async def works(a: Replica, b: Replica) -> None:
    """As if nothing had been."""
    a.faults.clear()
    fresh = keys(100, first=10_000)
    await ask(a, fresh)
    await asyncio.sleep(0.1)
    assert (await b.cache.look_up(fresh)).known == {one: truth(one) for one in fresh}
    assert not a.faults


async def test_who_watches_judges_when_redis_is_gone() -> None:
    with RedisServer() as server:
        async with replica(server.url, "a") as a, replica(server.url, "b", timeout_s=TIMEOUT_S) as b:
            await a.cache.look_up(keys(50))
            b.watch(keys(50))
            server.kill()
            async with asyncio.timeout(HUNG_S):
                while len(b.mine) < 50:
                    await asyncio.sleep(0.005)
            assert sorted(b.mine) == keys(50)


async def test_what_cannot_be_written_is_dropped_and_counted() -> None:
    with RedisServer() as server:
        async with replica(server.url, beats=False, timeout_s=TIMEOUT_S, link_clock=ManualClock()) as a:
            wanted = keys(5000)
            await a.cache.look_up(wanted)
            server.kill()
            a.keep(wanted[:2500])
            await asyncio.sleep(0.05)
            a.keep(wanted[2500:])
            assert a.faults == Counter(connection=1, unwritten=5000)


async def test_a_claim_that_redis_read_late_blocks_nobody_for_long() -> None:
    """It answered nothing in time, and did what it was asked when it woke: the holder began a new life by then."""
    clock = ManualClock()

    class Stopped(RedisClient):
        async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
            if len(commands) > 40:
                server.stop()
            return await super().pipeline(commands)

    with RedisServer() as server:
        async with (
            replica(server.url, "a", timeout_s=TIMEOUT_S, link_clock=clock, kind=Stopped) as a,
            replica(server.url, "b", timeout_s=3.0, link_clock=clock) as b,
        ):
            await a.cache.look_up([key(0)])
            wanted = keys(20, first=1)
            assert (await a.cache.look_up(wanted)).mine == set(wanted)
            for one in wanted:
                a.cache.release(one)
            server.cont()
            await clock.advance(1)
            async with asyncio.timeout(HUNG_S):
                while a.link.breaker_open:
                    await asyncio.sleep(0.005)
            looked = await b.cache.look_up(wanted)
            assert looked.elsewhere
            b.watch(list(looked.elsewhere))
            async with asyncio.timeout(HUNG_S):
                while len(b.mine) < len(looked.elsewhere):
                    await asyncio.sleep(0.01)

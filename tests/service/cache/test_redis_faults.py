"""Whatever Redis does, no call of the cache raises or is wrong, and when it ends the cache works again.

Each fault goes on while two replicas ask 100 times, watch what is elsewhere and keep what is theirs.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from service.cache.redis import add_checksum
from service.clock import ManualClock
from service.redis_client import Argument, RedisClient
from testkit.redis import RedisServer
from testkit.waiting import HUNG_S, until
from tests.service.cache.replicas import BRIEF_S, Replica, key, keys, known_to, lease_name, replica, truth, value_name

OPERATIONS = 100
TIMEOUT_S = 1.0
"""Of a client whose Redis is stopped; the others give theirs all the time that it needs."""


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


FAULTS = {
    "killed": Fault(RedisServer.kill, RedisServer.start, {"connection"}),
    "stopped": Fault(RedisServer.stop, RedisServer.cont, {"timeout"}),
    "out of memory": Fault(
        lambda server: server.do("CONFIG", "SET", "maxmemory", 1),
        lambda server: server.do("CONFIG", "SET", "maxmemory", 0),
        {"oom"},
    ),
    "loading": Fault(RedisServer.load_slowly, RedisServer.loaded, {"loading"}),
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

    def all_told() -> bool:
        for one in replicas:
            a_mine, one.mine[:] = list(one.mine), []
            one.keep(a_mine)
        return not any(one.cache.watched for one in replicas)

    await until(all_told)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_a_miss_and_never_wrong_and_it_ends(name: str) -> None:
    fault, clock = FAULTS[name], ManualClock()
    timeout_s = TIMEOUT_S if name == "stopped" else HUNG_S
    with RedisServer() as server:
        async with (
            replica(server.url, "a", timeout_s=timeout_s, link_clock=clock) as a,
            replica(server.url, "b", timeout_s=timeout_s, link_clock=clock) as b,
        ):
            await ask(a, keys(OPERATIONS // 2))
            await asyncio.sleep(0.05)
            fault.begin(server)
            for n in range(OPERATIONS):
                await asyncio.gather(ask(a, keys(5, first=n)), ask(b, keys(5, first=n)))
            await told(a, b)
            fault.end(server)
            counted = a.faults + b.faults
            assert fault.counted <= set(counted)
            if fault.counted & {"connection", "timeout", "loading"}:
                assert sum(counted[kind] for kind in fault.counted) <= 20, "of 200 questions the first ones cost time"
                assert a.link.breaker_open and b.link.breaker_open
            await clock.advance(1)
            await until(lambda: not (a.link.breaker_open or b.link.breaker_open))
            await works(a, b)
            assert all(value == truth(one) for one, value in [*a.known, *b.known])


async def works(a: Replica, b: Replica) -> None:
    """As if nothing had been."""
    a.faults.clear()
    fresh = keys(100, first=10_000)
    await ask(a, fresh)
    await known_to(b, fresh)
    assert (await b.cache.look_up(fresh)).known == {one: truth(one) for one in fresh}
    assert not a.faults


async def test_who_watches_judges_when_redis_is_gone() -> None:
    with RedisServer() as server:
        async with replica(server.url, "a") as a, replica(server.url, "b") as b:
            await a.cache.look_up(keys(50))
            b.watch(keys(50))
            server.kill()
            await until(lambda: len(b.mine) >= 50)
            assert sorted(b.mine) == keys(50)


async def test_what_cannot_be_written_is_dropped_and_counted() -> None:
    with RedisServer() as server:
        async with replica(server.url, beats=False, link_clock=ManualClock()) as a:
            wanted = keys(5000)
            await a.cache.look_up(wanted)
            server.kill()
            a.keep(wanted[:2500])
            await until(lambda: a.link.breaker_open)
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
            replica(server.url, "a", lease_s=BRIEF_S, timeout_s=TIMEOUT_S, link_clock=clock, kind=Stopped) as a,
            replica(server.url, "b", link_clock=clock) as b,
        ):
            await a.cache.look_up([key(0)])
            wanted = keys(20, first=1)
            assert (await a.cache.look_up(wanted)).mine == set(wanted)
            for one in wanted:
                a.cache.release(one)
            server.cont()
            await clock.advance(1)
            await until(lambda: not a.link.breaker_open)
            looked = await b.cache.look_up(wanted)
            assert looked.elsewhere
            b.watch(list(looked.elsewhere))
            await until(lambda: len(b.mine) >= len(looked.elsewhere))

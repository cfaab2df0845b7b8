"""Idempotency keys on a real Redis: takeovers, values that are not whole, and a Redis that goes and comes back."""

import asyncio
import json
import random
import subprocess
import sys
from typing import Any

import pytest

from service.clock import ManualClock
from service.errors import KeyReused, StillRunning
from service.idempotency import IdempotencyStore, RedisIdempotencyStore, Stored, _name, _redis_key
from testkit.redis import RedisServer
from testkit.waiting import HUNG_S, until
from tests.service.tenancy.on_redis import back, idempotency_store
from tests.service.test_idempotency_memory import body, run

MARK_MS = 10_000


def redis_key(key: str) -> bytes:
    return _redis_key(_name("a", key))


async def running(one: IdempotencyStore, key: str, digest: bytes = b"x") -> Any:
    found = await one.begin("a", key, digest)
    assert not isinstance(found, Stored)
    return found


async def taken_over(
    server: RedisServer, one: RedisIdempotencyStore, other: RedisIdempotencyStore, key: str
) -> tuple[Any, Any]:
    """Who began first, and who began after the first one's mark had expired."""
    late = await running(one, key)
    server.do("DEL", redis_key(key))
    return late, await running(other, key)


RACE = """
import asyncio, json, sys
from service.idempotency import MemoryIdempotencyStore, RedisIdempotencyStore, Stored
from service.clock import SystemClock
from service.redis_client import RedisClient

async def race(url):
    clock = SystemClock()
    client = RedisClient(url, timeout_s=5.0, clock=clock)
    replays = RedisIdempotencyStore(client, clock, 60.0, MemoryIdempotencyStore(clock, 60.0, 10**6))
    print("ready", flush=True)
    sys.stdin.readline()
    running = []
    for n in range(200):
        begun = [replays.begin("a", f"key-{n}", b"x") for _ in range(5)]
        answers = await asyncio.gather(*begun, return_exceptions=True)
        running.append([one for one in answers if not isinstance(one, BaseException | Stored)])
    print(json.dumps([len(one) for one in running]))
    await client.aclose()

asyncio.run(race(sys.argv[1]))
"""


async def test_of_all_that_take_over_at_once_one_runs(redis_url: str, redis_server: RedisServer) -> None:
    """200 keys whose runners are dead, 2 processes, 5 at once in each."""
    async with idempotency_store(redis_url, ManualClock(), 1) as (dead,):
        for n in range(200):
            await running(dead, f"key-{n}")
            redis_server.do("PEXPIRE", redis_key(f"key-{n}"), 1)
    await until(lambda: redis_server.do("DBSIZE") == 0)
    first, second = await asyncio.to_thread(raced, redis_url)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1] * 200


def raced(url: str) -> list[list[int]]:
    """Of two processes, how many calls of each key got the right to answer."""
    pipe = subprocess.PIPE
    racers = [subprocess.Popen([sys.executable, "-c", RACE, url], stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return [json.loads(racer.communicate(timeout=HUNG_S)[0]) for racer in racers]


async def test_who_is_late_does_not_overwrite_who_took_over(redis_url: str, redis_server: RedisServer) -> None:
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        late, second = await taken_over(redis_server, one, other, "a")
        await late.finish(b"late")
        with pytest.raises(StillRunning):
            await one.begin("a", "a", b"x")
        await second.finish(b"second")
        late, second = await taken_over(redis_server, one, other, "b")
        await second.finish(b"second")
        await late.finish(b"late")
        assert [await body(replica, key) for replica in (one, other) for key in "ab"] == [b"second"] * 4


async def test_who_is_late_does_not_free_the_key_of_who_took_over(redis_url: str, redis_server: RedisServer) -> None:
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        late, second = await taken_over(redis_server, one, other, "a")
        await late.give_up()
        with pytest.raises(StillRunning):
            await one.begin("a", "a", b"x")
        await second.give_up()
        assert await body(one, "a") is None


async def test_who_is_late_does_not_renew_the_mark_of_who_took_over(redis_url: str, redis_server: RedisServer) -> None:
    clock = ManualClock()
    async with idempotency_store(redis_url, clock) as (one, other):
        await one.start()
        late, second = await taken_over(redis_server, one, other, "a")
        own = await running(one, "b")
        for key in "ab":
            redis_server.do("PEXPIRE", redis_key(key), 5000)
        await clock.advance(3.0)
        await until(lambda: lives_ms(redis_server, "b") > 5000)
        assert lives_ms(redis_server, "a") <= 5000
        for begun in (late, second, own):
            await begun.give_up()


async def test_who_is_late_and_alone_is_kept(redis_url: str, redis_server: RedisServer) -> None:
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        late = await running(one, "a")
        redis_server.do("DEL", redis_key("a"))
        await late.finish(b"late")
        late, second = await taken_over(redis_server, one, other, "b")
        await second.give_up()
        await late.finish(b"late")
        assert [await body(other, key) for key in "ab"] == [b"late"] * 2


async def test_giving_up_frees_the_key_and_after_the_end_does_nothing(redis_url: str) -> None:
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        first = await running(one, "a")
        await first.give_up()
        await first.finish(b"wrong")
        second = await running(other, "a", b"y")
        await first.give_up()
        await first.finish(b"wrong")
        await second.finish(b"right")
        await second.give_up()
        await second.finish(b"wrong")
        assert await body(one, "a", b"y") == b"right"
        with pytest.raises(KeyReused):
            await one.begin("a", "a", b"x")


async def test_1000_mutated_values_are_absent(redis_url: str, redis_server: RedisServer) -> None:
    """A byte changed, cut off, added or another key's value: the next one runs, and its answer is what is kept."""
    chance, wrong = random.Random(0), 0
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        await run(one, "other", b"not this " * 50)
        foreign = redis_server.do("GET", redis_key("other"))
        assert isinstance(foreign, bytes)
        with redis_server.client() as plain:
            for n in range(1000):
                key, answer = f"key-{n}", chance.randbytes(40) * chance.choice([1, 20])
                await run(one, key, answer)
                value = plain.get(redis_key(key))
                assert isinstance(value, bytes)
                plain.set(redis_key(key), mutated(value, foreign, chance))
                again = await other.begin("a", key, b"x")
                wrong += isinstance(again, Stored)
                if not isinstance(again, Stored):
                    await again.finish(answer[::-1])
                    wrong += await body(one, key) != answer[::-1]
    assert wrong == 0


def mutated(value: bytes, foreign: bytes, chance: random.Random) -> bytes:
    kind, place = chance.randrange(5), chance.randrange(len(value))
    if kind == 0:
        return value[:place]
    if kind == 1:
        return value + chance.randbytes(chance.randint(1, 5))
    if kind == 2:
        return foreign
    if kind == 3:
        return chance.randbytes(len(value))
    return value[:place] + bytes([value[place] ^ chance.randint(1, 255)]) + value[place + 1 :]


async def test_another_type_in_redis_is_absent(redis_url: str, redis_server: RedisServer) -> None:
    async with idempotency_store(redis_url, ManualClock()) as (one, other):
        redis_server.do("RPUSH", redis_key("a"), "x")
        await run(one, "a")
        assert await body(other, "a") == b"answer"


async def test_what_runs_long_is_renewed_until_it_ends_or_its_process_stops(
    redis_url: str, redis_server: RedisServer
) -> None:
    clock = ManualClock()
    async with idempotency_store(redis_url, clock, 1) as (one,):
        await one.start()
        long, given_up = await running(one, "a"), await running(one, "b")
        assert 0 < lives_ms(redis_server, "a") <= MARK_MS
        await given_up.give_up()
        second = await RedisIdempotencyStore(one._client, clock, 60.0, one._fallback).begin("a", "b", b"x")
        for key in "ab":
            redis_server.do("PEXPIRE", redis_key(key), 5000)
        for _ in range(20):
            redis_server.do("PEXPIRE", redis_key("a"), 5000)
            await clock.advance(3.0)
            await until(lambda: lives_ms(redis_server, "a") > 5000)
        assert lives_ms(redis_server, "b") <= 5000
        await one.stop()
        assert "idempotency-renew" not in {task.get_name() for task in asyncio.all_tasks()}
        await long.finish(b"done")
        assert lives_ms(redis_server, "a") > MARK_MS
        assert not isinstance(second, Stored)


async def test_without_redis_a_process_keeps_its_own_and_goes_on_knowing_them() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with idempotency_store(server.url, clock) as (one, other):
            await run(one, "before", b"in redis")
            server.kill()
            await run(one, "away", b"one")
            await run(other, "away", b"other")
            alone = await running(one, "alone")
            with pytest.raises(StillRunning):
                await one.begin("a", "alone", b"x")
            with pytest.raises(KeyReused):
                await one.begin("a", "away", b"y")
            server.start()
            await back(one, clock)
            await back(other, clock)
            with pytest.raises(StillRunning):
                await one.begin("a", "alone", b"x")
            await alone.finish(b"mine")
            found = [await body(one, "away"), await body(other, "away"), await body(one, "alone")]
            assert found == [b"one", b"other", b"mine"]
            await run(one, "after", b"in redis again")
            assert await body(other, "after") == b"in redis again"


async def test_what_was_begun_in_redis_is_one_and_is_kept_though_redis_went() -> None:
    with RedisServer() as server:
        async with idempotency_store(server.url, ManualClock(), 1) as (one,):
            begun = await running(one, "a")
            server.kill()
            for _ in range(2):
                with pytest.raises(StillRunning):
                    await one.begin("a", "a", b"x")
            with pytest.raises(KeyReused):
                await one.begin("a", "a", b"y")
            await begun.finish(b"kept")
            assert await body(one, "a") == b"kept"
            with pytest.raises(KeyReused):
                await one.begin("a", "a", b"y")


async def test_what_ended_in_redis_does_not_hold_its_key_when_redis_went() -> None:
    with RedisServer() as server:
        async with idempotency_store(server.url, ManualClock(), 1) as (one,):
            ended = [await running(one, key) for key in "ab"]
            await ended[0].give_up()
            await ended[1].finish(b"lost with redis")
            server.kill()
            assert [await body(one, key, b"y") for key in "ab"] == [None, None]


async def test_an_answer_is_not_written_over_another_though_redis_went() -> None:
    """The process took over from itself, and both end when Redis is unavailable."""
    with RedisServer() as server:
        async with idempotency_store(server.url, ManualClock(), 1) as (one,):
            late, second = await taken_over(server, one, one, "a")
            server.kill()
            await second.finish(b"second")
            await late.finish(b"late")
            assert await body(one, "a") == b"second"


def lives_ms(server: RedisServer, key: str) -> int:
    lives = server.do("PTTL", redis_key(key))
    assert isinstance(lives, int)
    return lives

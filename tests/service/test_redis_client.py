"""Tests of the Redis client against real servers: the cost of a fault, and that it ends."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from service.clock import ManualClock
from service.errors import ConfigurationError
from service.redis_client import RedisClient, RedisUnavailable
from testkit.redis import RedisClusterServer, RedisSentinel, RedisServer
from testkit.waiting import HUNG_S, until

TIMEOUT_S = 0.4


@asynccontextmanager
async def connected(
    url: str, clock: ManualClock | None = None, *, timeout_s: float = HUNG_S
) -> AsyncIterator[tuple[RedisClient, Counter[str]]]:
    faults: Counter[str] = Counter()

    def faulted(kind: str) -> None:
        faults[kind] += 1

    client = RedisClient(url, timeout_s=timeout_s, clock=clock or ManualClock(), on_fault=faulted)
    try:
        yield client, faults
    finally:
        await client.aclose()


async def recovered(client: RedisClient, clock: ManualClock) -> None:
    await clock.advance(1)
    await until(lambda: not client.breaker_open)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis:///0",
        "redis://host:port",
        "redis://host/judges",
        "unix://",
        "redis+cluster://",
        "redis+cluster://host:1/2",
        "redis+sentinel://host:1",
        "redis+sentinel:///judges",
        "redis+sentinel://host/judges",
        "redis+sentinel://host:1/judges/db",
        "rediss+sentinel://host:1/judges",
        "redis+magic://host:1",
    ],
)
def test_a_bad_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write redis://"):
        RedisClient(url, timeout_s=1, clock=ManualClock())


def test_a_refused_url_is_not_told() -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisClient("redis://:secret@host:port", timeout_s=1, clock=ManualClock())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:p@host:1/2",
        "rediss://host",
        "unix:///run/redis.sock",
        "redis+cluster://:p@127.0.0.1:1",
        "rediss+cluster://127.0.0.1",
        "redis+sentinel://u:p@a:1,[::1]:2/judges/3",
    ],
)
async def test_the_urls_that_work_connect_to_nothing_yet(url: str) -> None:
    async with connected(url) as (client, _):
        assert not client.breaker_open


@pytest.fixture(params=["alone", "cluster", "sentinel"])
def any_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisClusterServer() if request.param == "cluster" else RedisServer() as server:
        if request.param == "sentinel":
            with RedisSentinel(server) as sentinel:
                yield sentinel
        else:
            yield server


async def test_every_kind_of_server_answers_in_order(any_server: RedisServer) -> None:
    async with connected(any_server.url) as (client, faults):
        keys = [b"k%d" % n for n in range(100)]
        stored = await client.pipeline([("SET", key, key) for key in keys])
        assert stored == [True] * 100
        assert await client.get_many([*keys, b"none"]) == [*keys, None]
        answers = await client.pipeline([("LPUSH", b"list", 1), ("GET", b"list"), ("GET", b"k7")])
        assert answers[0] == 1
        assert isinstance(answers[1], Exception)
        assert answers[2] == b"k7"
        assert faults == {"wrong_type": 1}
        assert await client.get_many([b"list", b"k8"]) == [None, b"k8"]
        lua = "return {KEYS[1], ARGV[1]}"
        assert await client.script(lua, [b"k1"], [3]) == [b"k1", b"3"]
        assert await client.script(lua, [b"k2"], ["x"]) == [b"k2", b"x"]
        assert await client.get_many([]) == []
        assert await client.pipeline([]) == []
        assert not client.breaker_open


async def test_every_kind_of_server_may_die_and_come_back(any_server: RedisServer) -> None:
    clock = ManualClock()
    async with connected(any_server.url, clock) as (client, faults):
        await asyncio.gather(*(client.get_many([b"k"]) for _ in range(20)))
        server = any_server.master if isinstance(any_server, RedisSentinel) else any_server
        server.kill()
        for _ in range(100):
            with pytest.raises(RedisUnavailable):
                await client.get_many([b"k"])
        assert client.breaker_open
        assert faults.total() == 1
        await clock.advance(3)
        assert client.breaker_open
        server.start()
        await recovered(client, clock)
        answers = await asyncio.gather(*(client.pipeline([("SET", b"k", n)]) for n in range(100)))
        assert answers == [[True]] * 100


async def test_a_stopped_server_costs_one_timeout() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with connected(server.url, clock, timeout_s=1.0) as (client, faults):
            await client.pipeline([("SET", b"k", 1)])
            server.stop()
            calls = [asyncio.ensure_future(client.get_many([b"k"])) for _ in range(100)]
            await asyncio.wait(calls)
            for _ in range(100):
                with pytest.raises(RedisUnavailable):
                    await client.get_many([b"k"])
            assert faults.total() <= 100, "of those that came later none waited"
            assert all(isinstance(call.exception(), RedisUnavailable) for call in calls)
            assert set(faults) == {"timeout"}
            await clock.advance(1)
            assert client.breaker_open
            server.cont()
            await recovered(client, clock)
            assert await client.get_many([b"k"]) == [b"1"]


async def test_an_error_of_one_command_does_not_open_the_breaker() -> None:
    with RedisServer() as server:
        async with connected(server.url) as (client, faults):
            server.do("CONFIG", "SET", "maxmemory", 1)
            [oom] = await client.pipeline([("SET", b"k", 1)])
            with pytest.raises(RedisUnavailable, match="oom"):
                await client.script("return redis.call('SET', KEYS[1], 1)", [b"k"], [])
            server.do("CONFIG", "SET", "maxmemory", 0)
            server.do("REPLICAOF", "127.0.0.1", 1)
            [readonly] = await client.pipeline([("SET", b"k", 1)])
            server.do("REPLICAOF", "NO", "ONE")
            with pytest.raises(RedisUnavailable, match="other"):
                await client.script("this is not Lua", [], [])
            [stored] = await client.pipeline([("SET", b"k", 1)])
            assert isinstance(oom, Exception)
            assert isinstance(readonly, Exception)
            assert stored is True
            assert faults == {"oom": 2, "readonly": 1, "other": 1}
            assert not client.breaker_open


async def test_a_server_that_loads_is_left_alone_until_it_has() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        server.load_slowly()
        async with connected(server.url, clock) as (client, faults):
            with pytest.raises(RedisUnavailable, match="loading"):
                await client.get_many([b"1"])
            assert client.breaker_open
            assert faults == {"loading": 1}
            server.loaded()
            await recovered(client, clock)
            assert await client.get_many([b"300"]) == [b"x" * 5000]


async def test_waiting_for_a_place_is_not_a_slow_redis() -> None:
    """A server that takes its time for every answer, and many more callers than connections."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            await asyncio.sleep(TIMEOUT_S / 2)
            writer.write(b"*1\r\n$1\r\nv\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connected(f"redis://127.0.0.1:{port}", timeout_s=TIMEOUT_S) as (client, faults):
        began_s = time.monotonic()
        answers = await asyncio.gather(*(client.get_many([b"k"]) for _ in range(80)))
        assert time.monotonic() - began_s > 2 * TIMEOUT_S
        assert answers == [[b"v"]] * 80
        assert not faults


async def test_a_loop_that_was_late_is_not_a_slow_redis(redis_url: str) -> None:
    """An answer of many parts, which all wait to be read when the timeout is long over."""
    value = b"x" * 2_000_000
    async with connected(redis_url, timeout_s=TIMEOUT_S) as (client, faults):
        await client.pipeline([("SET", b"k", value)])
        call = asyncio.ensure_future(client.get_many([b"k"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(2 * TIMEOUT_S)  # noqa: ASYNC251
        assert await call == [value]
        assert not faults


async def test_a_loop_whose_every_turn_is_slow_is_not_a_slow_redis(redis_url: str) -> None:
    """No turn is as long as the timeout, and what a call takes of them is twice as long."""
    value = b"x" * 2_000_000
    turns = 0

    async def busy() -> None:
        nonlocal turns
        while True:
            time.sleep(TIMEOUT_S / 5)  # noqa: ASYNC251
            turns += 1
            await asyncio.sleep(0)

    async with connected(redis_url, timeout_s=TIMEOUT_S) as (client, faults):
        await client.pipeline([("SET", b"k", value)])
        others = asyncio.create_task(busy())
        assert await client.get_many([b"k"]) == [value]
        others.cancel()
        assert turns > 5
        assert not faults


async def test_a_cancelled_call_leaves_no_answer_behind(redis_url: str) -> None:
    chance = random.Random(4)
    async with connected(redis_url) as (client, faults):
        keys = [b"k%d" % n for n in range(300)]
        await client.pipeline([("SET", key, key) for key in keys])
        cancelled = 0
        for n in range(300):
            calls = [
                asyncio.ensure_future(client.get_many([keys[n]])),
                asyncio.ensure_future(client.pipeline([("GET", keys[n]), ("GET", keys[n])])),
            ]
            for _ in range(chance.randrange(25)):
                await asyncio.sleep(0)
            for call in calls:
                cancelled += call.cancel()
            other = keys[-n]
            assert await asyncio.gather(*(client.get_many([other]) for _ in range(3))) == [[other]] * 3
        assert cancelled > 100
        assert not faults


async def test_closing_ends_the_pings() -> None:
    clock = ManualClock()
    async with connected("redis://127.0.0.1:1", clock) as (client, faults):
        with pytest.raises(RedisUnavailable, match="connection"):
            await client.get_many([b"k"])
        await clock.advance(5)
        assert faults == {"connection": 1}
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "redis-recover"]

"""Tests of what faults of Redis are called, and of what a client does with refusals of real servers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.clock import ManualClock
from service.redis_client import RedisClient, RedisUnavailable
from service.redis_faults import KINDS, Fault
from testkit.redis import RedisClusterServer, RedisServer
from testkit.waiting import HUNG_S

LEAST = ("~rubricd:*", "+@read", "+@write", "+@scripting", "+@connection", "+time")
"""The rights that redis.md asks for."""


@asynccontextmanager
async def started(url: str, clock: ManualClock) -> AsyncIterator[tuple[RedisClient, Counter[str]]]:
    faults: Counter[str] = Counter()
    client = RedisClient(url, timeout_s=HUNG_S, clock=clock, on_fault=lambda kind: faults.update([kind]))
    await client.start()
    try:
        yield client, faults
    finally:
        await client.aclose()


async def use(client: RedisClient, times: int) -> int:
    """Reads, writes and runs a script; counts what came of it."""
    done = 0
    for n in range(times):
        calls = [
            client.get_many([b"rubricd:v"]),
            client.pipeline([("SET", b"rubricd:v", n)]),
            client.script("return redis.call('HSET', KEYS[1], 'left', 1)", [b"rubricd:q"], []),
        ]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            assert not isinstance(answer, BaseException) or isinstance(answer, RedisUnavailable)
            done += not isinstance(answer, BaseException) and not (
                isinstance(answer, list) and isinstance(answer[0], Exception)
            )
    return done


async def until(true: Callable[[], bool], clock: ManualClock) -> None:
    async with asyncio.timeout(HUNG_S):
        while not true():
            await clock.advance(1.0)
            await asyncio.sleep(0.005)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "service.redis_client"]


Change = Callable[[RedisServer], object]


def requirepass(server: RedisServer) -> str:
    server.do("CONFIG", "SET", "requirepass", "secret")
    return server.url


def wrong_password(server: RedisServer) -> str:
    requirepass(server)
    return f"redis://:wrong@127.0.0.1:{server.port}/0"


def needless_password(server: RedisServer) -> str:
    return f"redis://:needless@127.0.0.1:{server.port}/0"


def unknown_user(server: RedisServer) -> str:
    return f"redis://nobody:pw@127.0.0.1:{server.port}/0"


def user(server: RedisServer, *rights: str) -> str:
    server.do("ACL", "SETUSER", "judge", "reset", "on", ">pw", *rights)
    return f"redis://judge:pw@127.0.0.1:{server.port}/0"


def reads_only(server: RedisServer) -> str:
    return user(server, "~rubricd:*", "+@read", "+@connection")


def no_scripts(server: RedisServer) -> str:
    return user(server, *LEAST, "-eval", "-evalsha")


def no_time(server: RedisServer) -> str:
    return user(server, *LEAST, "-time")


def other_keys(server: RedisServer) -> str:
    return user(server, "~other:*", "+@all")


def wrong_database(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}/99"


def replica(server: RedisServer) -> str:
    server.do("REPLICAOF", "127.0.0.1", 1)
    return server.url


def few_replicas(server: RedisServer) -> str:
    server.do("CONFIG", "SET", "min-replicas-to-write", 3)
    return server.url


def full(server: RedisServer) -> str:
    server.do("CONFIG", "SET", "maxmemory", 1)
    return server.url


REFUSALS: list[tuple[Callable[[RedisServer], str], str, str]] = [
    (requirepass, "auth", "redis://user:password@host"),
    (wrong_password, "auth", "redis://user:password@host"),
    (needless_password, "auth", "redis://user:password@host"),
    (unknown_user, "auth", "redis://user:password@host"),
    (reads_only, "forbidden", "redis.md"),
    (no_scripts, "forbidden", "redis.md"),
    (other_keys, "forbidden", "redis.md"),
    (wrong_database, "database", "the number at the end of `redis_url`"),
    (replica, "readonly", "name its master"),
    (few_replicas, "misconf", "its own log says why"),
    (full, "oom", "volatile-lru"),
]


@pytest.mark.parametrize(("refuse", "kind", "remedy"), REFUSALS)
async def test_a_refusal_is_one_warning_with_what_to_do_and_never_up(
    refuse: Callable[[RedisServer], str], kind: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 300 calls that are refused the log has one line; it holds no password, and the gauge never says up."""
    clock = ManualClock()
    with RedisServer() as server:
        async with started(refuse(server), clock) as (client, faults):
            for _ in range(100):
                await use(client, 1)
                assert not client.up
                await clock.advance(0.2)
            assert set(faults) == {kind}
            [line] = told(caplog)
            assert line.startswith(f"Redis cannot be used as it should ({kind}") and remedy in line
            assert not any(secret in line for secret in ("wrong", "needless", "secret", "pw@"))


async def test_a_refusal_is_told_before_the_first_request(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with started(wrong_password(server), clock) as (client, faults):
            await until(lambda: bool(told(caplog)), clock)
            await clock.advance(600.0)
            assert len(told(caplog)) == 1 and not client.up and not faults


async def test_time_is_needed_by_the_quotas_scripts(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with started(no_time(server), clock) as (client, faults):
            with pytest.raises(RedisUnavailable, match="forbidden"):
                await client.script("return redis.call('TIME')", [b"rubricd:q"], [])
            await clock.advance(5.0)
            assert not client.up and faults == {"forbidden": 1}


def test_the_docs_have_the_line_that_gives_the_rights() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operate" / "redis.md").read_text(encoding="utf-8")
    assert f"ACL SETUSER rubricd on >PASSWORD {' '.join(LEAST)}\n" in page


@pytest.mark.parametrize(("sort", "more"), [(RedisServer, ()), (RedisClusterServer, ("+cluster",))])
async def test_the_rights_that_the_docs_name_are_enough(sort: type[RedisServer], more: tuple[str, ...]) -> None:
    clock = ManualClock()
    with sort() as server:
        url = server.url.replace("//", "//judge:pw@").removesuffix("/0")
        user(server, *LEAST, *more)
        async with started(url, clock) as (client, faults):
            await until(lambda: client.up, clock)
            assert await use(client, 10) == 30 and not faults


async def test_a_refusal_that_ends_is_up_again_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with started(server.url, clock) as (client, _):
            await until(lambda: client.up, clock)
            server.do("CONFIG", "SET", "maxmemory", 1)
            assert await use(client, 1) == 1, "reads go on"
            assert not client.up and not client.breaker_open
            server.do("CONFIG", "SET", "maxmemory", 0)
            await until(lambda: client.up, clock)
            assert await use(client, 5) == 15
    assert [line.split(" (")[0] for line in told(caplog)] == [
        "Redis cannot be used as it should",
        "Redis is used again",
    ]


async def test_a_password_that_is_corrected_on_the_server_is_up_again() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        url = user(server, *LEAST).replace("pw@", "later@")
        async with started(url, clock) as (client, faults):
            assert await use(client, 10) == 0
            assert client.breaker_open and faults["auth"] <= 3, "the breaker spares it the rest"
            server.do("ACL", "SETUSER", "judge", ">later")
            await until(lambda: client.up, clock)
            assert await use(client, 1) == 3


async def test_a_cluster_says_auth_too() -> None:
    clock = ManualClock()
    with RedisClusterServer() as server:
        server.do("CONFIG", "SET", "requirepass", "secret")
        async with started(server.url, clock) as (client, faults):
            assert await use(client, 2) == 0
            assert not client.up and set(faults) == {"auth"}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"-DENIED Redis is running in protected mode because protected mode is enabled", "forbidden"),
        (
            b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk",
            "misconf",
        ),
        (b"-ERR max number of clients reached", "connection"),
        (b"-ERR what nobody thought of", "other"),
    ],
)
async def test_what_a_server_of_ours_cannot_be_made_to_say(said: bytes, kind: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(said + b"\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with server, started(url, ManualClock()) as (client, faults):
        with pytest.raises(RedisUnavailable, match=kind):
            await client.get_many([b"k"])
        assert faults == {kind: 1}


async def test_a_redis_that_comes_and_goes_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with started(server.url, clock) as (client, faults):
            for _ in range(3):
                server.kill()
                await use(client, 1)
                server.start()
                await until(lambda: client.up, clock)
            assert faults["connection"] >= 3 and clock.now() < 60
    assert len(told(caplog)) == 2


def test_each_kind_is_named_once_and_has_a_remedy_unless_it_is_one_commands_own() -> None:
    assert len(set(KINDS)) == len(KINDS)
    own = {kind for kind in KINDS if not (Fault(kind).closed or Fault(kind).refused)}
    assert own == {"wrong_type", "other"}

"""Replicas on a real Redis: what is known, who judges what, and what a death costs."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.cache.leases import Leases
from service.clock import ManualClock, SystemClock
from service.redis_client import Argument, RedisClient
from testkit.redis import RedisClusterServer, RedisSentinel, RedisServer
from testkit.waiting import HUNG_S, until
from tests.service.cache.replicas import (
    BRIEF_S,
    LEASE_S,
    Replica,
    key,
    keys,
    known_to,
    lease_name,
    replica,
    truth,
    value_name,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["alone", "cluster", "sentinel"])
def any_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with RedisClusterServer() if request.param == "cluster" else RedisServer() as server:
        if request.param == "sentinel":
            with RedisSentinel(server) as sentinel:
                yield sentinel.url
        else:
            yield server.url


async def test_two_replicas_judge_each_of_200_once_and_both_know_all(any_url: str) -> None:
    async with replica(any_url, "a") as a, replica(any_url, "b") as b:
        for trial in range(5):
            wanted = keys(200, first=1000 * trial)
            at_a, at_b = await asyncio.gather(a.cache.look_up(wanted), b.cache.look_up(wanted[::-1]))
            assert not at_a.known and not at_b.known
            assert at_a.mine | at_b.mine == set(wanted)
            assert not at_a.mine & at_b.mine
            assert at_a.elsewhere == at_b.mine and at_b.elsewhere == at_a.mine
            a.watch(list(at_a.elsewhere))
            b.watch(list(at_b.elsewhere))
            a.keep(list(at_a.mine))
            b.keep(list(at_b.mine))
            await until(lambda: len(a.known) + len(b.known) == 200)
            assert dict(a.known) | dict(b.known) == {one: truth(one) for one in wanted}
            for each in (a, b):
                again = await each.cache.look_up(wanted)
                assert again.known == {one: truth(one) for one in wanted}
                assert not again.mine and not again.elsewhere
                each.known.clear()
        assert not a.mine and not b.mine
        assert not a.faults and not b.faults


async def test_nothing_is_left_in_redis_but_values_that_expire(redis_server: RedisServer, redis_url: str) -> None:
    async with replica(redis_url) as a:
        wanted = keys(20)
        await a.cache.look_up(wanted)
        a.keep(wanted[:10])
        for one in wanted[10:]:
            a.cache.release(one)
    with redis_server.client() as client:
        assert sorted(client.keys()) == sorted(value_name(one).encode() for one in wanted[:10])
        assert 0 < client.ttl(value_name(key(0))) <= 100


async def test_more_than_one_round_trip_holds(redis_url: str) -> None:
    async with replica(redis_url) as a:
        wanted = keys(1500)
        assert (await a.cache.look_up(wanted)).mine == set(wanted)
        a.keep(wanted)
        await known_to(a, wanted)
        assert (await a.cache.look_up(wanted)).known == {one: truth(one) for one in wanted}


async def test_what_is_written_between_the_look_and_the_claim_is_known(redis_url: str) -> None:
    class Interrupted(RedisClient):
        async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
            if any("NX" in command for command in commands):
                b.keep([key(1)])
                await known_to(b, [key(1)])
            return await super().pipeline(commands)

    async with replica(redis_url, "b") as b, replica(redis_url, "a", kind=Interrupted) as a:
        looked = await a.cache.look_up(keys(3))
        assert looked.known == {key(1): truth(key(1))}
        assert looked.mine == {key(0), key(2)}
        await until_free(b, key(1))


async def test_a_verdict_is_written_before_its_lease_is_let_go(redis_url: str) -> None:
    written: list[Sequence[Argument]] = []

    class Recorded(RedisClient):
        async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
            written.extend(commands)
            return await super().pipeline(commands)

    async with replica(redis_url, kind=Recorded) as a:
        await a.cache.look_up([key(0)])
        written.clear()
        a.keep([key(0)])
        await until_free(a, key(0))
    assert [command[0] for command in written[:2]] == ["SET", "EVAL"]


async def until_free(a: Replica, one: bytes) -> None:
    async with asyncio.timeout(HUNG_S):
        while await a.link.get_many([lease_name(one).encode()]) != [None]:
            await asyncio.sleep(0.002)


async def test_what_is_given_up_is_the_watchers(redis_url: str) -> None:
    async with replica(redis_url, "a") as a, replica(redis_url, "b") as b:
        wanted = keys(50)
        await a.cache.look_up(wanted)
        assert (await b.cache.look_up(wanted)).elsewhere == set(wanted)
        b.watch(wanted)
        await asyncio.sleep(0.1)
        assert not b.mine
        for one in wanted:
            a.cache.release(one)
        await until(lambda: len(b.mine) == 50)
        assert set(b.mine) == set(wanted)
        assert (await a.cache.look_up(wanted)).elsewhere == set(wanted)
        assert not b.known


async def test_what_this_process_gave_up_it_may_have_again(redis_url: str) -> None:
    """The question was left, and asked again at once: 200 times."""
    async with replica(redis_url) as a:
        for one in keys(200):
            assert (await a.cache.look_up([one])).mine == {one}
            a.cache.release(one)
            looked = await a.cache.look_up([one])
            a.watch(list(looked.elsewhere))
            await until(lambda one=one, looked=looked: one in looked.mine or a.mine == [one])  # type: ignore[misc]
            a.mine.clear()


async def test_nobody_is_told_twice_or_of_what_they_left(redis_url: str) -> None:
    async with replica(redis_url, "a") as a, replica(redis_url, "b") as b:
        wanted = keys(90)
        await a.cache.look_up(wanted)
        await b.cache.look_up(wanted)
        b.watch(wanted)
        for one in wanted[:30]:
            b.cache.unwatch(one)
        a.keep(wanted[15:60])
        for one in [*wanted[:15], *wanted[60:]]:
            a.cache.release(one)
        await until(lambda: len(b.known) + len(b.mine) >= 60)
        await asyncio.sleep(0.5)
        assert sorted(b.known) == [(one, truth(one)) for one in wanted[30:60]]
        assert sorted(b.mine) == wanted[60:]


async def test_a_new_watcher_does_not_wait_for_an_old_ones_pause(redis_url: str) -> None:
    clock = ManualClock()
    async with replica(redis_url, "a") as a, replica(redis_url, "b", clock=clock) as b:
        await a.cache.look_up(keys(2))
        b.watch([key(0)])
        for _ in range(10):
            await clock.advance(0.2)
            await asyncio.sleep(0.02)
        a.keep([key(1)])
        await known_to(a, [key(1)])
        b.watch([key(1)])
        await clock.advance(0.021)
        await until(lambda: b.known)


async def test_what_nobody_waits_for_when_it_is_taken_is_let_go(redis_url: str) -> None:
    class Left(RedisClient):
        async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
            if len(commands) > 1:
                b.cache.unwatch(key(0))
            return await super().pipeline(commands)

    async with replica(redis_url, "a") as a, replica(redis_url, "b", kind=Left) as b:
        await a.cache.look_up([key(0)])
        b.watch([key(0)])
        a.cache.release(key(0))
        await until(lambda: not b.cache.watched)
        await asyncio.sleep(0.05)
        await until_free(a, key(0))
        assert not b.mine


async def test_only_one_takes_over_from_the_dead(redis_url: str) -> None:
    async with replica(redis_url) as a:
        b, c = (Leases(a.link, SystemClock(), name, LEASE_S) for name in "bc")
        await a.link.pipeline([("SET", lease_name(key(0)), "dead")])
        assert await b.find_free([key(0)]) == await c.find_free([key(0)]) == {key(0): b"dead"}
        takes = [b.renew(), b.take(key(0), b"dead"), c.take(key(0), b"dead")]
        assert await a.link.pipeline(takes) == [True, 1, 0]
        assert await c.find_free([key(0)]) == {}


async def test_a_living_holder_keeps_its_leases_and_a_dead_one_loses_them(redis_url: str) -> None:
    async with replica(redis_url, "alive") as alive, replica(redis_url, "dead", beats=False, lease_s=BRIEF_S) as dead:
        await alive.cache.look_up(keys(20))
        await dead.cache.look_up(keys(20, first=100))
        async with replica(redis_url, "b") as b:
            wanted = keys(20) + keys(20, first=100)
            assert (await b.cache.look_up(wanted)).elsewhere == set(wanted)
            b.watch(wanted)
            await until(lambda: len(b.mine) >= 20)
            assert sorted(b.mine) == keys(20, first=100)


async def test_a_living_holder_renews_its_heartbeat_in_a_third_of_its_time(
    redis_server: RedisServer, redis_url: str
) -> None:
    clock = ManualClock()
    async with replica(redis_url, "alive", clock=clock) as alive:
        await alive.cache.look_up([key(0)])
        with redis_server.client() as client:
            (beat,) = client.keys("rubricd:holder:*")
            for _ in range(3):
                client.pexpire(beat, round(1000 * LEASE_S / 2))
                await clock.advance(LEASE_S / 3 + 0.1)
                await until(lambda: client.pttl(beat) > 1000 * LEASE_S * 0.9)


async def test_a_holder_that_comes_back_late_takes_nothing_away(redis_server: RedisServer, redis_url: str) -> None:
    async with replica(redis_url, "late", beats=False, lease_s=BRIEF_S) as late, replica(redis_url, "b") as b:
        await late.cache.look_up(keys(2))
        b.watch(keys(2))
        await until(lambda: len(b.mine) == 2)
        late.keep([key(0)])
        late.cache.release(key(1))
        await known_to(late, [key(0)])
        assert [bytes(redis_server.do("GET", lease_name(one)))[:2] for one in keys(2)] == [b"b."] * 2  # type: ignore[call-overload]
        assert (await b.cache.look_up([key(0)])).known == {key(0): truth(key(0))}


HOLDER = """
import asyncio, sys
from service.cache import write_behind
from tests.service.cache.replicas import BRIEF_S, keys, replica
write_behind._STOP_S = 60.0
async def main():
    async with replica(sys.argv[1], "other", lease_s=BRIEF_S) as other:
        looked = await other.cache.look_up(keys(100))
        print(len(looked.mine), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        other.keep(list(looked.mine))
asyncio.run(main())
"""


@pytest.fixture
def holder(redis_url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that judges 100 questions until it is told to keep them."""
    command = [sys.executable, "-c", HOLDER, redis_url]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "100\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_or_hangs_costs_at_most_the_lease(
    how: signal.Signals, holder: subprocess.Popen[str], redis_url: str
) -> None:
    async with replica(redis_url, "b") as b:
        assert (await b.cache.look_up(keys(100))).elsewhere == set(keys(100))
        b.watch(keys(100))
        holder.send_signal(how)
        await until(lambda: len(b.mine) == 100)
        if how == signal.SIGSTOP:
            holder.send_signal(signal.SIGCONT)
            holder.communicate("\n", timeout=HUNG_S)
            assert (await b.cache.look_up(keys(100))).known == {one: truth(one) for one in keys(100)}
            leases = await b.link.get_many([lease_name(one).encode() for one in keys(100)])
            assert all(lease is not None and lease.startswith(b"b.") for lease in leases)
        b.keep(keys(100))
        assert not b.known

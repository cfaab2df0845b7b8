"""Idempotency keys in one process: what a key may be, what is kept, and what goes first."""

import gc
from typing import Any

import pytest

from service.clock import ManualClock
from service.errors import InvalidRequest, KeyReused, StillRunning
from service.idempotency import IdempotencyStore, MemoryIdempotencyStore, Stored

ENTRY = 512
"""Bytes that an answer costs beside its body."""


async def run(idempotency_store: IdempotencyStore, key: str, body: bytes = b"answer", digest: bytes = b"x") -> None:
    running = await idempotency_store.begin("a", key, digest)
    assert not isinstance(running, Stored)
    await running.finish(body)


async def body(idempotency_store: IdempotencyStore, key: str, digest: bytes = b"x") -> bytes | None:
    """None where nothing is stored; gives the right to answer back."""
    found = await idempotency_store.begin("a", key, digest)
    if isinstance(found, Stored):
        return found.body
    await found.give_up()
    return None


def kept(max_bytes: int = 10**6) -> MemoryIdempotencyStore:
    return MemoryIdempotencyStore(ManualClock(), 60.0, max_bytes)


async def test_who_was_not_asked_for_longest_goes_first() -> None:
    idempotency_store = kept(3 * (ENTRY + 10))
    for key in "abc":
        await run(idempotency_store, key, b"0123456789")
    assert await body(idempotency_store, "a") is not None
    await run(idempotency_store, "d", b"0123456789")
    assert [await body(idempotency_store, key) is not None for key in "abcd"] == [True, False, True, True]


async def test_memory_is_bounded_and_used() -> None:
    idempotency_store = kept(100_000)
    for n in range(2000):
        await run(idempotency_store, f"key-{n}", b"x" * (n % 700))
        assert (
            sum(len(one.body) + ENTRY for one in idempotency_store._answers.values())
            == idempotency_store._bytes.total()
            <= 100_000
        )
    assert idempotency_store._bytes.total() > 98_000


async def test_a_team_with_many_answers_costs_no_other_team_its_own() -> None:
    """One of them was asked for more recently than all that the other team kept."""
    idempotency_store = kept(100_000)

    async def kept_by(team: str, key: str) -> bool:
        found = await idempotency_store.begin(team, key, b"x")
        if isinstance(found, Stored):
            return True
        await found.give_up()
        return False

    for team, key in [("small", "k"), *(("large", f"key-{n}") for n in range(1000))]:
        running = await idempotency_store.begin(team, key, b"x")
        assert not isinstance(running, Stored)
        await running.finish(b"x" * 5000)
    assert await kept_by("small", "k")
    assert not await kept_by("large", "key-0")
    assert await kept_by("large", "key-999")


async def test_an_answer_larger_than_all_memory_is_not_kept_and_costs_nobody_else_theirs() -> None:
    idempotency_store = kept(10_000)
    await run(idempotency_store, "small")
    await run(idempotency_store, "large", b"x" * 10_000)
    assert (await body(idempotency_store, "small"), await body(idempotency_store, "large")) == (b"answer", None)


async def test_an_answer_lives_its_time_and_no_longer() -> None:
    clock = ManualClock()
    idempotency_store = MemoryIdempotencyStore(clock, 60.0, 10**6)
    await run(idempotency_store, "k")
    await clock.advance(59.9)
    assert await body(idempotency_store, "k") == b"answer"
    with pytest.raises(KeyReused):
        await idempotency_store.begin("a", "k", b"y")
    await clock.advance(0.1)
    assert await body(idempotency_store, "k", b"y") is None
    assert idempotency_store._bytes.total() == 0


async def test_one_runs_at_a_time_and_giving_up_or_being_dropped_frees_the_key() -> None:
    idempotency_store = kept()
    running: Any = await idempotency_store.begin("a", "k", b"x")
    with pytest.raises(StillRunning) as refused:
        await idempotency_store.begin("a", "k", b"x")
    assert refused.value.retry_after_s > 0
    with pytest.raises(KeyReused):
        await idempotency_store.begin("a", "k", b"y")
    await running.give_up()
    running = await idempotency_store.begin("a", "k", b"y")
    del running
    gc.collect()
    assert await body(idempotency_store, "k", b"z") is None


async def test_what_has_ended_ends_nothing_more() -> None:
    idempotency_store = kept()
    first: Any = await idempotency_store.begin("a", "k", b"x")
    await first.give_up()
    second: Any = await idempotency_store.begin("a", "k", b"x")
    await first.finish(b"wrong")
    await first.give_up()
    with pytest.raises(StillRunning):
        await idempotency_store.begin("a", "k", b"x")
    await second.finish(b"right")
    await second.give_up()
    await first.finish(b"wrong")
    assert await body(idempotency_store, "k") == b"right"


async def test_teams_and_keys_do_not_run_together() -> None:
    idempotency_store = kept()
    pairs = [("a", "bc"), ("ab", "c"), ("abc", "1"), ("a", "bc1"), ("1", "1:1"), ("1:1", "1")]
    for team, key in pairs:
        running: Any = await idempotency_store.begin(team, key, b"x")
        await running.finish(f"{team}/{key}".encode())
    found = [await idempotency_store.begin(team, key, b"x") for team, key in pairs]
    assert found == [Stored(f"{team}/{key}".encode()) for team, key in pairs]


@pytest.mark.parametrize("key", ["x", "x" * 255, "!", "~", "7c2a9d3e-0b1f-4a55-9a52-0d6a9b4a1f11"])
async def test_a_key(key: str) -> None:
    idempotency_store = kept()
    await run(idempotency_store, key)
    assert await body(idempotency_store, key) == b"answer"


@pytest.mark.parametrize("key", ["", "x" * 256, " ", "a b", "a\n", "a\x7f", "é", "\x00", "٣", "\udc80"])
async def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await kept().begin("a", key, b"x")
    assert refused.value.errors[0][0] == ("Idempotency-Key",)

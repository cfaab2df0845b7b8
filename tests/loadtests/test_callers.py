"""The drill of hostile callers: its attacks, its goals and its table, and its quick rows against a real service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.callers import bodies
from loadtests.callers.__main__ import better, run
from loadtests.callers.attacker import sound
from loadtests.callers.attacks import Answer, Target, half_sent, header_flood, post, posting, silent, summary
from loadtests.callers.drill import Outcome, Phase, misses
from loadtests.callers.report import from_json, plot, table, to_json
from loadtests.callers.rows import REFUSED, ROWS, Row
from loadtests.callers.victim import body
from service.settings import ApiSettings
from trainer_client.wire import ScoreRequest

CALM = Phase(requests=100, p99_ms=20.0, unserved={}, loop_ms=10.0, own_late_ms=5.0)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def outcome(row: str, during: Phase = CALM, *missed: str) -> Outcome:
    return Outcome(row, CALM, during, "3 x 413; 0.1 s", 500.0, 600.0, 505.0, 0, 12.0, [*missed])


@contextlib.asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[Target]:
    """Whatever the attacks meet; connections that it still has end with it."""
    tasks: set[asyncio.Task[object]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            tasks.discard(task)

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with listening:
        yield Target(listening.sockets[0].getsockname()[1], "rbd_key", hold_s=0.5)
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")


async def _slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)


async def _never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 20):
        pass


async def test_an_attack_names_the_answer_or_that_there_was_none() -> None:
    async with server(_refuse) as target:
        assert [answer.outcome for answer in await posting(lambda: b"{}", at_once=3)(target)] == ["413"] * 3
    async with server(_slam) as target:
        assert (await post(target, b"x" * 10)).outcome == "closed"
    assert (await post(target, b"{}")).outcome == "closed"


async def test_a_connection_is_held_or_was_closed_before_its_time() -> None:
    async with server(_never_answer) as target:
        for attack in (half_sent(5), silent(5)):
            assert [answer.outcome for answer in await attack(target)] == ["held"] * 5
    async with server(_slam) as target:
        assert [answer.outcome for answer in await half_sent(5)(target)] == ["closed"] * 5
    async with server(_refuse) as target:
        assert (await header_flood(1)(target))[0].outcome in ("413", "closed")


def test_a_summary_counts_outcomes() -> None:
    answers = [Answer("413", 0.1), Answer("closed", 2.0), Answer("413", 0.5)]
    assert summary(answers) == "2 x 413, closed; 2.0 s"


def test_an_answer_is_sound_if_it_is_right_and_in_time() -> None:
    row = Row("a row", posting(lambda: b""), REFUSED, within_s=1)
    assert sound(row, [Answer("413", 0.9)])
    assert not sound(row, [Answer("413", 0.9), Answer("200", 0.1)])
    assert not sound(row, [Answer("413", 1.1)])


@pytest.mark.parametrize(
    ("during", "memory", "killed", "missed"),
    [
        (CALM, 1.1, 0, []),
        (replace(CALM, p99_ms=70.0, loop_ms=55.0), 1.0, 0, []),
        (replace(CALM, p99_ms=71.0), 1.0, 0, ["p99"]),
        (replace(CALM, loop_ms=56.0), 1.0, 0, ["loop"]),
        (replace(CALM, unserved={"503": 1}), 1.0, 0, ["unserved"]),
        (CALM, 1.11, 1, ["memory", "killed"]),
    ],
)
def test_what_misses_a_goal_is_named(during: Phase, memory: float, killed: int, missed: list[str]) -> None:
    assert misses(CALM, during, memory, killed, 0) == missed


def test_a_fast_victim_may_wait_50_ms_more_and_a_slow_one_twice_as_long() -> None:
    slow = replace(CALM, p99_ms=200.0)
    assert misses(slow, replace(CALM, p99_ms=400.0), 1.0, 0, 0) == []
    assert misses(slow, replace(CALM, p99_ms=401.0), 1.0, 0, 0) == ["p99"]


def test_the_better_of_two_tries_missed_less_or_has_the_lower_p99() -> None:
    missed, slow = outcome("a", replace(CALM, p99_ms=5.0), "loop"), outcome("a", replace(CALM, p99_ms=30.0))
    assert better(missed, slow) is better(slow, missed) is slow
    assert better(slow, outcome("a")).during == CALM


def test_every_row_has_a_name_of_its_own_and_a_body_that_is_read_at_all() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    most = ApiSettings.model_fields["max_body_bytes"].default
    for make in (
        bodies.digits,
        bodies.words,
        bodies.near_the_bound,
        bodies.rules_on_a_long_response,
        bodies.many_items,
    ):
        assert 1_000_000 < len(make()) < most
    assert len(bodies.cached()) < 20_000


def test_no_two_requests_of_the_victim_have_a_text_in_common() -> None:
    items = [ScoreRequest.model_validate_json(body(number)).items[0] for number in range(100)]
    assert len({item.response for item in items}) == len({str(item.prompt) for item in items}) == 100


def test_the_table_and_the_file_have_every_row(tmp_path: Path) -> None:
    found = [outcome("a"), outcome("b", replace(CALM, unserved={"503": 2}), "unserved")]
    lines = table(found).splitlines()
    assert lines[2].startswith("| a | 3 x 413; 0.1 s | 20 | 20 | 0 of 100 |") and lines[2].endswith("| none |")
    assert "| 2 x 503 of 100 |" in lines[3] and lines[3].endswith("| unserved |")
    assert lines[-1] == "1 of 2 rows reached every goal; 0 replicas killed"
    assert from_json(to_json(found)) == found
    plot(found, tmp_path / "p99.png", earlier=found[:1])
    assert (tmp_path / "p99.png").read_bytes().startswith(b"\x89PNG")


def test_the_quick_rows_against_a_service_with_a_fake_judge() -> None:
    """Goals of time are the drill's: here other tests share the cores."""
    [fifo, brackets] = run([row for row in ROWS if row.name in _QUICK], "fake", seconds=0.5, cap_s=20.0)
    for one in (fifo, brackets):
        assert one.during.requests >= 10 and not one.during.unserved, one
        assert one.killed == 0 and "answer" not in one.missed, one
    assert "200" in fifo.attacker and "422" in brackets.attacker


_QUICK = ("a FIFO for the teams file", "a million brackets")

"""Callers that mean harm meet a real process without nginx: their connections end within the limits, and a victim in a
process of its own is served meanwhile. The figures are those of small limits; the shipped ones are longer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from testkit import attacks
from testkit.processes import Running, service
from testkit.victim import Seen, victim

LIMIT_S = 2.0
SLACK_S = 60.0
"""For a busy machine, and far from what a connection may take where it has no limit."""
MIB = 1 << 20
FLAGS = [flag for name in ("header", "idle", "stall") for flag in (f"--{name}-timeout-s", str(LIMIT_S))]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with service("--engine", "fake", *FLAGS) as running:
        yield running


def port_of(running: Running) -> int:
    port = urlsplit(running.url).port
    assert port is not None
    return port


def unharmed(seen: Seen) -> None:
    """Every request of the victim was answered. The bound is for a test machine that is busy with other tests, too."""
    assert seen.failures == []
    assert len(seen.seconds) >= 3
    assert seen.quantile(0.5) < 1.0


@pytest.mark.parametrize("attack", [attacks.half_sent, attacks.silent, attacks.idle])
async def test_2000_connections_that_send_nothing_more_are_closed_while_others_are_served(
    running: Running, attack: Callable[[int, int, float], Awaitable[attacks.Outcome]]
) -> None:
    async with victim(port_of(running)) as seen:
        outcome = await attack(port_of(running), 2000, LIMIT_S + SLACK_S)
    assert outcome.open == 0
    assert sum(outcome.statuses.values()) == 2000
    unharmed(seen)


@pytest.mark.parametrize("one_header", [True, False])
async def test_400_megabytes_of_headers_take_no_memory(running: Running, one_header: bool) -> None:
    process = psutil.Process(running.process.pid)
    before, peak = process.memory_info().rss, 0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    outcome = await attacks.header_flood(port_of(running), 20, 20, LIMIT_S + SLACK_S, one_header)
    watching.cancel()
    assert outcome.statuses == {431: 20}, "whoever reads while it sends has the answer, 20 of 20"
    assert peak - before < 40 * MIB


async def test_500_slow_bodies_end_while_others_are_served(running: Running) -> None:
    async with victim(port_of(running)) as seen:
        outcome = await attacks.slow_body(port_of(running), 500, 20, LIMIT_S + SLACK_S)
    assert outcome.open == 0 and outcome.statuses.total() == 500
    assert set(outcome.statuses) <= {408, 0}, "who goes on sending may be reset before it has read why"
    assert outcome.statuses[408]
    unharmed(seen)


async def test_a_body_that_nobody_wants_is_not_taken_without_end(running: Running) -> None:
    outcome = await attacks.endless_body(port_of(running), 8, 400, LIMIT_S + SLACK_S)
    assert outcome.open == 0
    assert outcome.sent_bytes < 8 * 100 * MIB


async def test_answers_that_nobody_reads_end(running: Running) -> None:
    page = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with victim(port_of(running)) as seen:
        outcome = await attacks.unread_answers(port_of(running), 20, page, LIMIT_S + SLACK_S)
    assert outcome.open == 0
    unharmed(seen)


async def test_more_connections_than_there_may_be_keep_nobody_out() -> None:
    """Seven clients hold all they can; an eighth is served, and so are the probes of a supervisor."""
    flags = ["--max-connections", "300", "--max-connections-per-client", "100", "--header-timeout-s", "30"]
    with service("--engine", "fake", *flags) as running:
        with await attacks.hold(port_of(running), 2000):
            async with victim(port_of(running)) as seen:
                await asyncio.sleep(2)
        unharmed(seen)

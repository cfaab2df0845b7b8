"""A caller that goes on sending after it was refused has its answer, within limits of time and bytes."""

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from service.http.lingering import LONGEST_S, SILENT_S, Lingering
from testkit.waiting import HUNG_S
from tests.service.http.serving import LIMITS, LOOPS, Served, connected, read_all, served, statuses

PIECE = b"x-flood: 0123456789\r\n" * 1_000


def test_it_ends_after_silence_after_its_longest_time_or_its_bytes() -> None:
    limits = replace(LIMITS, stall_s=60.0, bytes_per_s=1.0, unread_bytes=100)
    lingering = Lingering(limits, 0.0)
    assert lingering.due_s == SILENT_S
    for now_s in range(8):
        assert lingering.take(10, float(now_s))
        assert lingering.due_s == min(now_s + SILENT_S, LONGEST_S)
    assert lingering.take(20, 8.0) and not lingering.take(1, 8.0)
    trickle = Lingering(replace(LIMITS, stall_s=1.0), 0.0)
    for n in range(10):
        trickle.take(50, n / 10)
    assert trickle.due_s == pytest.approx(1.045), "50 bytes earn 5 ms, and no more than there was at first"


def _flood(served: Served, seconds: float) -> int:
    """The status that a caller reads who first sends for so long."""
    with connected(served) as caller:
        caller.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n")
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            caller.sendall(PIECE)
            time.sleep(seconds / 10)
        caller.shutdown(socket.SHUT_WR)
        return (statuses(read_all(caller)) or [0])[0]


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_32_of_32_callers_that_read_late_have_their_answer(loop: str) -> None:
    """They send for longer than their headers may take, and read only then."""
    with served(loop, stall_s=HUNG_S, idle_s=HUNG_S) as server, ThreadPoolExecutor(16) as pool:
        found = Counter(pool.map(lambda _: _flood(server, 1.0), range(32)))
    assert found == {431: 32}


def test_a_flood_without_end_is_cut_off(server: Served) -> None:
    sent = 0
    with connected(server) as caller, pytest.raises(ConnectionError):
        while sent < 64 * LIMITS.unread_bytes:
            sent += caller.send(PIECE)
    assert sent < 32 * LIMITS.unread_bytes, "beside what the sockets of both sides hold"

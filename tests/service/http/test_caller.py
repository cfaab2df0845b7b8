"""Tests of the pace at which an answer has to be read. test_protocol.py has callers that leave."""

from service.http.caller import ReadingPace
from tests.service.http.serving import LIMITS


def test_who_reads_nothing_is_too_slow_after_the_timeout() -> None:
    pace = ReadingPace(LIMITS)
    pace.begin(100_000, 10.0)
    assert not pace.too_slow(100_000, 10.0 + LIMITS.stall_s - 0.01)
    assert pace.too_slow(100_000, 10.0 + LIMITS.stall_s)


def test_who_reads_at_the_rate_has_all_the_time() -> None:
    pace, unread = ReadingPace(LIMITS), 100_000
    pace.begin(unread, 0.0)
    for tenth in range(1, 100):
        unread -= int(LIMITS.bytes_per_s / 10)
        assert not pace.too_slow(unread, tenth / 10)


def test_a_byte_now_and_then_earns_next_to_nothing() -> None:
    pace = ReadingPace(LIMITS)
    pace.begin(100_000, 0.0)
    late = [tenth for tenth in range(1, 100) if pace.too_slow(100_000 - tenth, tenth / 10)]
    assert late[0] <= 5


def test_much_at_once_does_not_earn_more_than_the_timeout() -> None:
    pace = ReadingPace(LIMITS)
    pace.begin(10_000_000, 0.0)
    assert not pace.too_slow(1_000, 0.1)
    assert pace.too_slow(1_000, 0.1 + LIMITS.stall_s)

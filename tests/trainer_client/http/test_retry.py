import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.scripted_judge import ManualClock
from trainer_client.errors import (
    AnswerLost,
    ConnectFailed,
    ConnectionBroken,
    Incomplete,
    InternalError,
    LostTwice,
    Overloaded,
    RubricdClientError,
    Unauthorized,
    Unavailable,
)
from trainer_client.http.retry import Clock, Retries, RetryPolicy

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 8),
    first_wait_s=st.floats(0, 10),
    longest_wait_s=st.floats(0, 100),
    share=st.floats(0, 1),
    burst=st.floats(0, 20),
)
pauses = st.none() | st.floats(0, 120)
seeds = st.integers(0, 2**32)


def _retries(policy: RetryPolicy, seed: int = 0) -> Retries:
    return Retries(policy, random.Random(seed), Clock())


@given(policies, st.integers(1, 2000), pauses, seeds)
def test_a_wait_lies_between_what_was_asked_for_and_the_ceiling_above_it(
    policy: RetryPolicy, attempt: int, pause_s: float | None, seed: int
) -> None:
    wait_s = policy.wait_s(attempt, pause_s, random.Random(seed))
    asked_s = pause_s or 0.0
    ceiling_s = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** min(attempt - 1, 60))
    assert asked_s <= wait_s <= asked_s + ceiling_s + 1e-9


def test_waits_double_and_fill_their_range() -> None:
    policy = RetryPolicy(first_wait_s=1.0, longest_wait_s=4.0)
    rng = random.Random(1)
    tops = [max(policy.wait_s(attempt, None, rng) for _ in range(500)) for attempt in (1, 2, 3, 4)]
    bottoms = [min(policy.wait_s(attempt, None, rng) for _ in range(500)) for attempt in (1, 2, 3, 4)]
    assert [round(top) for top in tops] == [1, 2, 4, 4]
    assert max(bottoms) < 0.1


def test_waits_repeat_with_the_seed() -> None:
    policy = RetryPolicy()
    assert policy.wait_s(2, None, random.Random(7)) == policy.wait_s(2, None, random.Random(7))


@given(policies, st.floats(0, 60), st.lists(pauses, max_size=20), seeds)
def test_the_waits_of_one_request_end_before_its_deadline(
    policy: RetryPolicy, left_s: float, said: list[float | None], seed: int
) -> None:
    retries = _retries(policy, seed)
    waited_s, attempt = 0.0, 0
    for pause_s in said:
        attempt += 1
        wait_s = retries.next_wait_s(Overloaded("full", retry_after_s=pause_s), attempt, left_s - waited_s)
        if wait_s is None:
            break
        waited_s += wait_s
        assert waited_s < left_s
    assert attempt <= max(policy.attempts, len(said) and 1)


@given(policies, st.lists(st.booleans(), max_size=300), seeds)
def test_retries_never_exceed_the_budget(policy: RetryPolicy, succeeds: list[bool], seed: int) -> None:
    retries = _retries(policy, seed)
    retried = 0
    for success in succeeds:
        if success:
            retries.earn()
            continue
        attempt = 1
        while retries.next_wait_s(ConnectFailed("down"), attempt, None) is not None:
            attempt, retried = attempt + 1, retried + 1
        assert attempt <= policy.attempts
    assert retried <= policy.burst + policy.share * sum(succeeds) + 1e-6


def test_by_default_an_outage_sees_a_burst_and_success_earns_a_fifth() -> None:
    retries = _retries(RetryPolicy())
    assert sum(retries.next_wait_s(ConnectFailed("down"), 1, None) is not None for _ in range(1000)) == 8
    for _ in range(20):
        retries.earn()
    assert sum(retries.next_wait_s(ConnectFailed("down"), 1, None) is not None for _ in range(1000)) in (3, 4)
    for _ in range(1000):
        retries.earn()
    assert retries.saved == 8.0


@pytest.mark.parametrize("error", [Unauthorized("no key"), InternalError("defect"), RubricdClientError("?")])
def test_what_cannot_change_is_not_asked_again(error: RubricdClientError) -> None:
    retries = _retries(RetryPolicy())
    assert retries.next_wait_s(error, 1, None) is None
    assert retries.saved == RetryPolicy().burst


def test_the_last_attempt_is_the_last() -> None:
    retries = _retries(RetryPolicy(attempts=3))
    waits = [retries.next_wait_s(ConnectFailed("down"), attempt, None) for attempt in (1, 2, 3)]
    assert [wait is None for wait in waits] == [False, False, True]


def test_a_service_that_asks_for_too_much_is_left_alone() -> None:
    retries = _retries(RetryPolicy(longest_wait_s=10.0))
    assert retries.next_wait_s(Overloaded("full", retry_after_s=10.5), 1, None) is None
    assert retries.next_wait_s(Overloaded("full", retry_after_s=10.0), 1, None) is not None


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"share": -0.1}, {"burst": float("nan")}, {"first_wait_s": float("inf")}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


LOST = (ConnectionBroken("reset"), AnswerLost("a replica had it", status=502))
PAGE = Unavailable("answered 502 without a problem document", status=502)


class Attempts:
    """Raises one error after the other, then answers."""

    def __init__(self, *fails: RubricdClientError) -> None:
        self._fails = list(fails)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self._fails:
            raise self._fails.pop(0)
        return "answer"


@asynccontextmanager
async def place() -> AsyncIterator[None]:
    yield


def _at_once() -> Retries:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    return Retries(RetryPolicy(attempts=9, burst=99.0), random.Random(0), Clock(sleep=sleep))


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", LOST, ids=lambda error: error.code)
async def test_what_may_have_ended_a_judge_is_sent_once_more_and_not_oftener(
    error: RubricdClientError, waits: bool
) -> None:
    answered = Attempts(error, ConnectFailed("refused"), ConnectFailed("refused"))
    assert await _at_once().run(answered, place, None, line=asyncio.Lock() if waits else None) == "answer"
    poison = Attempts(error, ConnectFailed("refused"), error)
    with pytest.raises(LostTwice, match="twice while the judge had this request") as stopped:
        await _at_once().run(poison, place, None, line=asyncio.Lock() if waits else None)
    assert (poison.made, stopped.value.attempts, stopped.value.retryable) == (3, 3, False)


async def test_a_proxys_page_counts_as_a_loss_unless_the_call_waits_out_an_outage() -> None:
    poison = Attempts(PAGE, PAGE)
    with pytest.raises(LostTwice):
        await _at_once().run(poison, place, None, line=None)
    outage = Attempts(*[PAGE] * 6)
    assert await _at_once().run(outage, place, None, line=asyncio.Lock()) == "answer"


async def test_a_proxys_page_is_a_loss_where_other_calls_are_answered_between_two_of_them() -> None:
    retries = _at_once()

    class Between(Attempts):
        async def __call__(self) -> str:
            await retries.run(Attempts(), place, None, line=None)
            return await super().__call__()

    poison = Between(*[PAGE] * 6)
    with pytest.raises(LostTwice):
        await retries.run(poison, place, None, line=asyncio.Lock())
    assert poison.made == 2


@pytest.mark.parametrize(("waits_s", "paused_s"), [(600.0, 15.0), (10.0, 9.0)])
async def test_a_call_that_waits_lets_a_proxy_notice_what_its_page_was_about(waits_s: float, paused_s: float) -> None:
    """Or as long as its last attempt leaves."""
    time = ManualClock()
    retries = Retries(RetryPolicy(), random.Random(0), time.clock)
    assert await retries.run(Attempts(PAGE), place, time.now + waits_s, line=asyncio.Lock()) == "answer"
    assert time.slept[0] == pytest.approx(paused_s)


@pytest.mark.parametrize("lost", [*LOST, PAGE], ids=["connection", "told", "page"])
async def test_an_answer_that_lacks_verdicts_forgives_a_loss_before_it(lost: RubricdClientError) -> None:
    """A call that waits for verdicts may live for an hour, and meet one restart after the other."""
    lacking = Incomplete("the answer lacks verdicts that may come later")
    call = Attempts(lost, lacking, lost, lacking, lost)
    assert await _at_once().run(call, place, None, line=asyncio.Lock()) == "answer"
    with pytest.raises(LostTwice):
        await _at_once().run(Attempts(lacking, LOST[0], LOST[0]), place, None, line=asyncio.Lock())


async def test_a_stream_that_breaks_after_its_beginning_is_no_loss() -> None:
    broken = ConnectionBroken("cut off")
    broken.began = True
    call = Attempts(broken, broken, broken)
    assert await _at_once().run(call, place, None, line=None) == "answer"

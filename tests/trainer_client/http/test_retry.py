import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer_client.errors import ConnectFailed, InternalError, Overloaded, RubricdClientError, Unauthorized
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


# A busy machine is slow; that says nothing about the property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _retries(policy: RetryPolicy, seed: int = 0) -> Retries:
    return Retries(policy, random.Random(seed), Clock())


@unhurried
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


@unhurried
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


@unhurried
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

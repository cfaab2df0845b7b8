"""Law 9, pure: over any time a key gets no more than its share, the burst credit and one turn."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduling.fair_share import FairShare, Tenant

CREDIT, MOST = 20.0, 5


def test_keys_with_work_get_by_weight() -> None:
    shares: FairShare[str] = FairShare()
    shares.enter("heavy", 3.0)
    shares.enter("light", 1.0)
    got = {"heavy": 0, "light": 0}
    for _ in range(4000):
        team = shares.next()
        assert team is not None
        shares.charge(team, 1)
        got[team] += 1
    assert got == {"heavy": 3000, "light": 1000}


def test_a_key_that_comes_back_goes_first_as_far_as_its_burst_credit() -> None:
    shares: FairShare[str] = FairShare(CREDIT)
    shares.enter("small", 1.0)
    shares.leave("small")
    shares.enter("noisy", 1.0)
    for _ in range(1000):
        assert shares.next() == "noisy"
        shares.charge("noisy", 1)
    shares.enter("small", 1.0)
    turns = []
    for _ in range(40):
        team = shares.next()
        assert team is not None
        shares.charge(team, 1)
        turns.append(team)
    assert turns[:20] == ["small"] * 20
    assert 9 <= turns[20:].count("small") <= 11


def test_a_new_key_takes_turns_at_once() -> None:
    shares: FairShare[str] = FairShare(CREDIT)
    shares.enter("first", 1.0)
    shares.enter("second", 1.0)
    turns = []
    for _ in range(10):
        team = shares.next()
        assert team is not None
        shares.charge(team, 1)
        turns.append(team)
    assert turns.count("first") == 5


def test_turns_of_many_charges_starve_no_key() -> None:
    shares: FairShare[int] = FairShare(CREDIT)
    for team in range(5):
        shares.enter(team, 1.0)
    turns = []
    for _ in range(500):
        turn = shares.next()
        assert turn is not None
        turns.append(turn)
        for _ in range(10):
            shares.charge(turn, 1)
    assert [turns.count(team) for team in range(5)] == [100] * 5


def test_leaving_and_coming_back_gains_nothing() -> None:
    shares: FairShare[str] = FairShare(CREDIT)
    shares.enter("steady", 1.0)
    shares.enter("jumpy", 1.0)
    got = {"steady": 0, "jumpy": 0}
    for _ in range(4000):
        team = shares.next()
        assert team is not None
        shares.charge(team, 1)
        got[team] += 1
        shares.leave("jumpy")
        shares.enter("jumpy", 1.0)
    assert abs(got["jumpy"] - got["steady"]) <= CREDIT + 1


def test_without_work_it_is_no_keys_turn() -> None:
    shares: FairShare[str] = FairShare()
    assert shares.next() is None
    shares.enter("", 1.0)
    assert shares.next() == ""
    shares.leave("")
    assert shares.next() is None


@settings(max_examples=300)
@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=2, max_size=5),
    steps=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, MOST)), min_size=1, max_size=120),
)
def test_over_any_time_a_key_gets_no_more_than_its_share_and_the_credit(
    weights: list[float], steps: list[tuple[int, bool, int]]
) -> None:
    """Key 0 has work all the time; the others come and go at random. Every interval is checked."""
    shares: FairShare[int] = FairShare(CREDIT)
    shares.enter(0, weights[0])
    got = [[0.0] * len(weights)]
    for key, comes, amount in steps:
        key = key % len(weights)
        if key:
            shares.enter(key, weights[key]) if comes else shares.leave(key)
        turn = shares.next()
        assert turn is not None
        for _ in range(amount):  # a turn is many charges
            shares.charge(turn, 1)
        got.append([one + amount * (n == turn) for n, one in enumerate(got[-1])])
    for before, after in itertools.combinations(got, 2):
        steady = (after[0] - before[0] + MOST) / weights[0]
        for n, weight in enumerate(weights):
            assert after[n] - before[n] <= weight * steady + CREDIT + MOST + 1e-9


def test_a_noisy_neighbour_that_paused_forfeits_its_burst_credit() -> None:
    shares: FairShare[str] = FairShare(burst_credit=100.0)
    for _ in range(2):  # both have had work before
        for key in ("noisy", "small", "other"):
            shares.enter(key, 1.0)
        for key in ("noisy", "small", "other"):
            shares.charge(key, 500.0)
        for key in ("noisy", "small"):
            shares.leave(key)
        for _ in range(20):
            assert shares.next() == "other"
            shares.charge("other", 20.0)
    shares.enter("noisy", 1.0)  # first to come back
    shares.enter("small", 1.0)
    queued = {"noisy": 10_000.0, "small": 40.0, "other": 10_000.0}
    order = []
    for _ in range(8):
        turn = shares.next(lambda key: queued[key])
        assert turn is not None
        order.append(turn)
        shares.charge(turn, 20.0)
        if turn == "small" and order.count("small") == 2:
            shares.leave("small")
    assert order[:2] == ["small", "small"]
    assert abs(order[2:].count("noisy") - order[2:].count("other")) <= 1


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_is_positive(weight: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Tenant("team", weight)

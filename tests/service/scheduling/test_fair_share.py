"""Law 9's queue, pure: over any time nobody gets more than a share, the credit and a turn."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduling.fair_share import FairShare

CREDIT, MOST = 20.0, 5


def test_who_waits_gets_by_weight() -> None:
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


def test_who_comes_back_goes_first_as_far_as_the_credit() -> None:
    shares: FairShare[str] = FairShare(CREDIT)
    shares.enter("small", 1.0)
    shares.leave("small")
    shares.enter("hog", 1.0)
    for _ in range(1000):
        assert shares.next() == "hog"
        shares.charge("hog", 1)
    shares.enter("small", 1.0)
    turns = []
    for _ in range(40):
        team = shares.next()
        assert team is not None
        shares.charge(team, 1)
        turns.append(team)
    assert turns[:20] == ["small"] * 20
    assert 9 <= turns[20:].count("small") <= 11


def test_who_comes_for_the_first_time_takes_turns_at_once() -> None:
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


def test_turns_of_many_charges_starve_nobody() -> None:
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


def test_going_away_and_coming_back_gains_nothing() -> None:
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


def test_nobody_waits_and_it_is_nobodys_turn() -> None:
    shares: FairShare[str] = FairShare()
    assert shares.next() is None
    shares.enter("", 1.0)
    assert shares.next() == ""
    shares.leave("")
    assert shares.next() is None


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=2, max_size=5),
    steps=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, MOST)), min_size=1, max_size=120),
)
def test_over_any_time_nobody_gets_more_than_the_share_and_the_credit(
    weights: list[float], steps: list[tuple[int, bool, int]]
) -> None:
    """Key 0 waits all the time; the others come and go as they like. Checked over every interval."""
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


def test_a_hog_that_paused_does_not_hold_the_judge_until_its_credit_is_used_up() -> None:
    shares: FairShare[str] = FairShare(burst_credit=100.0)
    for _ in range(2):  # both have been here, and the time is theirs
        for key in ("hog", "small", "other"):
            shares.enter(key, 1.0)
        for key in ("hog", "small", "other"):
            shares.charge(key, 500.0)
        for key in ("hog", "small"):
            shares.leave(key)
        for _ in range(20):
            assert shares.next() == "other"
            shares.charge("other", 20.0)
    shares.enter("hog", 1.0)  # first to come back
    shares.enter("small", 1.0)
    waiting = {"hog": 10_000.0, "small": 40.0, "other": 10_000.0}
    order = []
    for _ in range(8):
        turn = shares.next(lambda key: waiting[key])
        assert turn is not None
        order.append(turn)
        shares.charge(turn, 20.0)
        if turn == "small" and order.count("small") == 2:
            shares.leave("small")
    assert order[:2] == ["small", "small"]
    assert abs(order[2:].count("hog") - order[2:].count("other")) <= 1

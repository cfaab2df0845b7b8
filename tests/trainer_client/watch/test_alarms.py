"""Alarms say what is wrong with a run's rewards and what to do, and honest runs raise no more than is declared."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.trainer_client.watch import made
from trainer_client.watch.alarms import KINDS, Alarm, Declared, alarms
from trainer_client.watch.observed import Observed

POINTS = {"a": 3.0, "b": 2.0, "c": 1.0, "bad": -2.0}
Row = tuple[str, dict[str, bool | None], float]


def _alarms(row: Callable[[np.random.Generator, int, int], Row], steps: int = 60, groups: int = 8) -> list[Alarm]:
    """Of a run with eight groups of four a step; `row` makes a rollout from a step and its place in the group."""
    random, observed = np.random.default_rng(0), Observed()
    for step in range(steps):
        for number in range(groups):
            rows = [row(random, step, place) for place in range(4)]
            observed.add(made.group(step, f"g{number}", rows, **POINTS))
    return alarms(observed.table(), None, Declared())


def _honest(random: np.random.Generator, step: int, place: int, rate: float | None = None) -> Row:
    """Answers of any length whose criteria hang together as those of better and worse answers do."""
    skill = random.random() if rate is None else rate
    met: dict[str, bool | None] = {id: bool(random.random() < skill) != (id == "bad") for id in POINTS}
    return _row("x" * int(random.integers(1, 90)) + str(random.random()), met)


def _row(answer: str, met: dict[str, bool | None]) -> Row:
    return answer, met, sum(POINTS[id] for id, one in met.items() if one) / 6


def _kinds(found: list[Alarm]) -> list[tuple[str, str | None]]:
    return [(one.kind, None if one.criterion is None else one.criterion.id) for one in found]


def test_an_honest_run_raises_none() -> None:
    assert _alarms(_honest) == []


def test_a_saturated_criterion_is_to_be_dropped_from_the_step_on_at_which_it_is() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        answer, met, _ = _honest(random, step, place)
        return _row(answer, {**met, "a": True if step >= 20 else met["a"]})

    (one,) = _alarms(row)
    assert _kinds([one]) == [("always_met", "a")] and one.action == "drop" and one.value > 0.9
    assert 20 < one.step < 50 and abs(one.began - 20) <= 3


def test_one_that_nobody_earns_is_to_be_reworded_and_a_fault_that_nobody_has_is_not() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        answer, met, _ = _honest(random, step, place)
        return _row(answer, {**met, "b": False, "bad": False})

    (one,) = _alarms(row)
    assert _kinds([one]) == [("never_met", "b")] and one.action == "reword"


def test_a_fault_that_everybody_has_is_never_earned() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        answer, met, _ = _honest(random, step, place)
        return _row(answer, {**met, "bad": True})

    assert _kinds(_alarms(row)) == [("never_met", "bad")]


def test_a_criterion_against_the_rest_is_to_be_reworded() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        answer, met, _ = _honest(random, step, place)
        return _row(answer, {**met, "c": not met["a"]})

    (one,) = _alarms(row)
    assert _kinds([one]) == [("against_rest", "c")] and one.action == "reword" and one.value > 0.6


def test_length_that_decides_the_reward_is_to_be_gated() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        skill = int(random.integers(1, 90))
        met: dict[str, bool | None] = {id: (skill > 20 * n) != (id == "bad") for n, id in enumerate(POINTS)}
        return _row("x" * skill, met)

    assert ("length", None) in _kinds(_alarms(row))


def test_groups_of_one_answer_have_no_spread_and_are_to_be_sampled_otherwise() -> None:
    def row(random: np.random.Generator, step: int, place: int) -> Row:
        return _row(f"step {step}", dict.fromkeys(POINTS, step % 2 == 0))

    found = _alarms(row)
    assert {("no_spread", None), ("identical", None)} <= set(_kinds(found))
    assert {one.kind: one.action for one in found}["identical"] == "sample"


def test_what_was_raised_stays_raised() -> None:
    """The alarms of a log's beginning are those of the whole log up to there."""

    def row(random: np.random.Generator, step: int, place: int) -> Row:
        answer, met, _ = _honest(random, step, place)
        return _row(answer, {**met, "a": True, "b": False, "c": not met["c"] if step < 20 else False})

    whole = [(one.kind, one.step, one.began) for one in _alarms(row)]
    for steps in (10, 25, 40, 55):
        part = [(one.kind, one.step, one.began) for one in _alarms(row, steps)]
        assert part == [one for one in whole if one[1] < steps]
    assert len(whole) >= 3


@pytest.mark.parametrize("rate", [0.5, None])
def test_honest_runs_raise_no_more_alarms_than_declared(rate: float | None) -> None:
    """50 runs of 20 steps, looked at after every step, at a declared chance of 10 %: at most 5 raise any alarm."""
    raised = 0
    for seed in range(50):
        random, observed = np.random.default_rng(seed), Observed()
        for step in range(20):
            for number in range(4):
                rows = [_honest(random, step, place, rate) for place in range(4)]
                observed.add(made.group(step, f"g{number}", rows, **POINTS))
        raised += bool(alarms(observed.table(), None, Declared(0.1)))
    assert raised <= 5, raised


def test_each_kind_has_the_same_part_of_the_chance() -> None:
    assert sum(Declared(0.01).of(kind) for kind in KINDS) == pytest.approx(0.01)

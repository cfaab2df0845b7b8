"""The figures of a study, against numbers worked out by hand."""

from dataclasses import asdict

import pytest

from miniature.experiment.arms import Setting
from miniature.experiment.table import Result, label, markdown, table


def _result(arm: str, seed: int, exact: float, **more: object) -> Result:
    best = {"1": exact, "8": 1.0}
    split = {"bare_reward": exact / 2, "exact_reward": exact, "exact_cool": exact, "exact_best_of": best}
    setting = asdict(Setting(**more))  # type: ignore[arg-type]
    return {
        "arm": arm,
        "seed": seed,
        "setting": setting,
        "splits": dict.fromkeys(("train", "trained", "held-out"), split),
    }


def test_means_spread_and_differences_on_the_seeds_that_both_have() -> None:
    found = table([_result("a", 0, 0.2), _result("a", 1, 0.6), _result("b", 1, 0.5), _result("b", 2, 0.1)])
    assert found["a"]["exact_reward"] == pytest.approx(0.4)
    assert found["a"]["bare_reward"] == pytest.approx(0.2)
    assert found["a"]["spread"] == [0.2, 0.6]
    assert found["a"]["deviation"] == pytest.approx(0.2 * 2**0.5)
    assert found["b"]["above_first"] == {1: pytest.approx(-0.1)}
    assert "| `b` | 0.300 ± 0.283 | 0.500, 0.100 | -0.100 (-0.100 to -0.100) |" in markdown(found)


def test_an_arm_is_compared_with_the_first_of_its_own_setting() -> None:
    plain = [_result("a", 0, 0.2), _result("b", 0, 0.3)]
    truth = [_result("a", 0, 0.8, reward="truth"), _result("b", 0, 0.7, reward="truth")]
    found = table([*plain, *truth])
    assert found["b"]["above_first"] == {0: pytest.approx(0.1)}
    assert found["b-truth"]["above_first"] == {0: pytest.approx(-0.1)}


def test_settings_are_arms_of_their_own() -> None:
    found = table([_result("a", 0, 0.2), _result("a", 0, 0.4, reward="truth", beta=0.001)])
    assert list(found) == ["a", "a-beta0.001-truth"]
    assert label({**_result("a", 0, 0.1), "judge": "small"}) == "a by small"

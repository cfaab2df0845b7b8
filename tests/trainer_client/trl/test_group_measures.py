"""What the groups of a batch teach, measured from the columns that a training logs."""

from typing import Any

import pytest

from trainer_client.trl.group_measures import measures

BATCH: dict[str, list[Any]] = {
    "row": ["a", "a", "a", "b", "b", "b", "a", "a", "a"],
    "member": [0, 1, 2] * 3,
    "answer": ["x", "yy", "x", "z", "z", "z", "u", "vv", "www"],
    "reward": [0.0, 1.0, 0.5, 0.5, 0.5, None, 1.0, 1.0, 1.0],
}


def test_the_measures_are_means_over_groups() -> None:
    """Three groups, of which the first has a spread: row `a` stands twice."""
    found = measures(BATCH)
    assert found["groups/no_spread"] == pytest.approx(2 / 3)
    assert found["groups/identical"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["groups/longer_wins"] == 1, "of two pairs of the first group that differ in both"


def test_a_batch_without_rewards_has_no_measure_of_them() -> None:
    found = measures({**BATCH, "reward": [None] * 9})
    assert set(found) == {"groups/identical"}
    assert measures({}) == {} and measures({**BATCH, "row": []}) == {}


def test_without_members_the_rows_of_one_prompt_are_one_group() -> None:
    found = measures({name: values[:6] for name, values in BATCH.items() if name != "member"})
    assert found["groups/no_spread"] == pytest.approx(1 / 2)

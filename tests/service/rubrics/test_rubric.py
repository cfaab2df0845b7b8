"""What counts and what is wanted follow from a criterion's points."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rubrics.rubric import Criterion

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE)
def test_what_counts_and_what_is_wanted_follow_from_the_points(points: float) -> None:
    criterion = Criterion(id="0", text="t", points=points)
    assert criterion.counted == (points != 0)
    assert criterion.wanted == (points > 0)


def test_a_criterion_is_a_value() -> None:
    criterion = Criterion(id="0", text="t", points=1)
    assert criterion == Criterion(id="0", text="t", points=1)
    with pytest.raises(FrozenInstanceError):
        criterion.points = 2  # type: ignore[misc]

"""What votes add up to: their share of met, and a price where each of them has one."""

import pytest

from service.engine.base import Decision
from service.engine.chat.messages import share
from service.errors import Unparseable


def test_votes_have_a_price_where_each_has_one() -> None:
    """A sum over some would look like the whole."""
    whole, part = (
        share([Decision(1.0, cost=0.25), Decision(0.0, cost=0.5)]),
        share([Decision(1.0, cost=0.25), Decision(0.0)]),
    )
    assert isinstance(whole, Decision) and isinstance(part, Decision)
    assert whole.cost == pytest.approx(0.75) and part.cost is None
    assert whole.p_met == part.p_met == 0.5


def test_a_missing_vote_that_could_turn_the_majority_leaves_no_verdict() -> None:
    missing = Unparseable("no verdict")
    assert share([Decision(1.0), Decision(0.0), missing]) is missing
    assert share([missing]) is missing
    sure = share([Decision(1.0), Decision(1.0), missing])
    assert isinstance(sure, Decision) and sure.p_met == 1.0

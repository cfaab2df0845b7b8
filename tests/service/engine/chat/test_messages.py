"""What votes add up to: their share of met, and a price where each of them has one."""

from service.engine.base import Decision
from service.engine.chat.messages import share
from service.errors import Spent, Unparseable


def test_votes_have_a_price_where_each_has_one() -> None:
    """A sum over some would look like the whole."""
    paid = Decision(1.0, spent=Spent(9, cost=0.25))
    whole, part = (share([paid, Decision(0.0, spent=Spent(cost=0.5))]), share([paid, Decision(0.0)]))
    assert isinstance(whole, Decision) and isinstance(part, Decision)
    assert whole.spent == Spent(9, cost=0.75) and part.spent == Spent(9)
    assert whole.p_met == part.p_met == 0.5


def test_a_vote_that_is_no_verdict_has_its_price_too() -> None:
    paid = Decision(1.0, spent=Spent(9, cost=0.25))
    known, unknown = Unparseable("no verdict").after(Spent(4, cost=0.5)), Unparseable("no verdict")
    for third, cost in ((known, 1.0), (unknown, None)):
        found = share([paid, paid, third])
        assert isinstance(found, Decision) and found.spent.cost == cost
    assert share([paid, known, known]) is known and known.spent == Spent(17, cost=1.25)


def test_a_missing_vote_that_could_turn_the_majority_leaves_no_verdict() -> None:
    missing = Unparseable("no verdict")
    assert share([Decision(1.0), Decision(0.0), missing]) is missing
    assert share([missing]) is missing
    sure = share([Decision(1.0), Decision(1.0), missing])
    assert isinstance(sure, Decision) and sure.p_met == 1.0

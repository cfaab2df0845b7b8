"""Teams beside each other, in simulated time: what each gets of the judge, and when."""

import statistics

import pytest

from loadtests.fairness import CLASSES, backlogged, beside_a_noisy_neighbour, jain, shares
from loadtests.simulation import LIMITS, UNITS_PER_S, Shape
from service.scheduling import Tenant

WHOLE = Shape(32, 1)
_P95S = ("solo_s", "peers_s", "fair_s")


async def test_small_teams_hardly_feel_a_noisy_neighbour() -> None:
    """Trainers' steps, at times of their own; what is added is what the noisy neighbour has at the engine by then."""
    for one in await beside_a_noisy_neighbour(WHOLE, WHOLE, 400, steady=True):
        assert one.served >= 0.95
        assert one.fair_s <= 2 * one.solo_s
        assert one.fifo_served < 0.5


async def test_small_teams_that_come_at_random_feel_each_other_more_than_the_noisy_neighbour() -> None:
    teams = await beside_a_noisy_neighbour(WHOLE, WHOLE, 400)
    solo_s, peers_s, fair_s = (statistics.mean(getattr(one, name) for one in teams) for name in _P95S)
    assert min(one.served for one in teams) >= 0.95
    assert fair_s - peers_s <= peers_s - solo_s
    assert fair_s <= 2.25 * solo_s


async def test_one_response_waits_for_what_is_at_the_engine_and_no_longer() -> None:
    """Two batches, and the one that it shares with others."""
    for one in await beside_a_noisy_neighbour(Shape(1, 1), WHOLE, 100):
        assert one.served >= 0.95
        assert one.fair_s <= 3 * LIMITS.max_batch_tokens / UNITS_PER_S + 0.1


async def test_equal_teams_get_equal_shares_and_the_judge_no_less_to_do() -> None:
    teams = [Tenant(f"team-{n}") for n in range(5)]
    parts = Shape(32, 3)
    fair, fifo = await backlogged(teams, parts, 60), await backlogged(teams, parts, 60, fair=False)
    assert jain(shares(fair)) >= 0.95
    assert jain(shares(fair)) > jain(shares(fifo))
    assert fair.units_per_s >= 0.95 * fifo.units_per_s


async def test_three_times_the_weight_is_three_times_the_share() -> None:
    heavy, light = shares(await backlogged([Tenant("heavy", 3.0), Tenant("light")], WHOLE, 240))
    assert heavy / light == pytest.approx(3, rel=0.1)


async def test_classes_share_what_their_team_has_by_weight_and_none_starves() -> None:
    of_21 = [
        21 * share
        for share in shares(await backlogged([Tenant("one", priority_class=name) for name in CLASSES], WHOLE, 240))
    ]
    assert of_21 == pytest.approx([16, 4, 1], rel=0.1)


async def test_three_classes_get_a_team_no_more_than_one() -> None:
    flows = [*(Tenant("many", priority_class=name) for name in CLASSES), Tenant("one")]
    assert shares(await backlogged(flows, WHOLE, 120))[-1] == pytest.approx(0.5, rel=0.05)


async def test_a_run_repeats_from_its_seed() -> None:
    first, again = [await beside_a_noisy_neighbour(Shape(8, 1), WHOLE, 30, seed=3) for _ in range(2)]
    assert first == again

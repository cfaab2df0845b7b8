"""Who gets a process next, who is refused, and that nobody is because of somebody else."""

import random
from collections import Counter

import pytest

from service.errors import InvalidRequest, Overloaded
from service.scheduling import Tenant
from service.settings import RuleSettings
from service.verifiers.check_queue import CheckQueue, Turn

NOISY, VICTIM = Tenant("noisy"), Tenant("victim")


def queue(**limits: int) -> CheckQueue[int]:
    return CheckQueue(RuleSettings(**limits))


def test_one_team_uses_the_workers_and_leaves_the_spare_process_to_another() -> None:
    checks = queue(rule_workers=2)
    checks.add(NOISY, range(10))
    assert checks.take(3) is not None
    assert checks.take(2) is not None
    assert checks.take(1) is None
    checks.add(VICTIM, range(5))
    turn = checks.take(1)
    assert turn is not None
    assert turn.team == "victim"
    assert checks.take(0) is None
    checks.finish(turn, 0.001)
    again = checks.take(1)
    assert again is not None
    assert again.team == "victim"


def test_in_order_of_arrival_within_a_team() -> None:
    checks = queue(rule_workers=1)
    checks.add(NOISY, range(30))
    served = []
    while (turn := checks.take(2)) is not None:
        served.append(turn.work)
        checks.finish(turn, 0.01)
    assert served == list(range(30))


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_teams_get_their_weights_in_seconds_whatever_a_check_takes(weight: float) -> None:
    """10,000 turns of a team with checks of 0.5 s and one with checks of 0.01 s, which both have work all the time."""
    checks, dice = queue(rule_workers=1), random.Random(3)
    lasts_s, got_s = {"noisy": 0.5, "victim": 0.01}, {"noisy": 0.0, "victim": 0.0}
    checks.add(NOISY, range(10_000))
    checks.add(Tenant("victim", weight), range(10_000))
    for _ in range(6_000):
        turn = checks.take(2)
        assert turn is not None
        seconds = lasts_s[turn.team] * dice.uniform(0.5, 1.5)
        got_s[turn.team] += seconds
        checks.finish(turn, seconds)
    assert got_s["victim"] / got_s["noisy"] == pytest.approx(weight, rel=0.1)


def test_limits_of_a_request_of_a_team_and_of_all() -> None:
    checks = queue(rule_workers=1, max_request_checks=100, max_team_queued_checks=150, max_queued_checks=300)
    with pytest.raises(InvalidRequest, match="more rule checks"):
        checks.admit(NOISY, 101)
    for team in (NOISY, VICTIM, Tenant("third")):
        checks.admit(team, 100)
        checks.add(team, range(100))
    with pytest.raises(Overloaded, match="of team noisy wait"):
        checks.admit(NOISY, 51)
    with pytest.raises(Overloaded, match="of team noisy wait"):
        checks.admit(NOISY, 1)  # 300 wait, and a third of them is the noisy team's
    checks.admit(Tenant("fourth"), 100)
    checks.remove("victim", lambda work: work >= 20)
    checks.admit(VICTIM, 80)


def test_when_to_come_back_follows_the_rate_and_the_share() -> None:
    checks = queue(rule_workers=2, max_team_queued_checks=1000)
    checks.add(NOISY, range(1000))
    for _ in range(200):
        turn = checks.take(3)
        assert turn is not None
        checks.finish(turn, 0.5)
    checks.add(NOISY, range(200))

    def told(more: int) -> float:
        with pytest.raises(Overloaded) as refused:
            checks.admit(NOISY, more)
        return refused.value.retry_after_s

    assert told(1) == 1
    assert told(80) == 20
    checks.add(VICTIM, range(10))
    assert told(80) == 40
    assert told(1000) == 60


def test_10_000_random_steps_refuse_nobody_who_has_nothing_waiting() -> None:
    checks, dice, refused = queue(rule_workers=2, max_queued_checks=50), random.Random(5), Counter[str]()
    running: list[Turn[int]] = []
    taken, added = 0, 0
    for _ in range(10_000):
        tenant = Tenant(dice.choice("abcdefgh"), dice.choice([0.5, 1, 2]))
        if dice.random() < 0.4:
            number = dice.randint(0, 30)
            try:
                checks.admit(tenant, number)
            except Overloaded:
                assert checks.waiting_by_team[tenant.team]
                refused[tenant.team] += 1
            else:
                checks.add(tenant, range(number))
                added += number
        elif running and dice.random() < 0.5:
            checks.finish(running.pop(), dice.expovariate(10))
        elif (turn := checks.take(3 - len(running))) is not None:
            running.append(turn)
            taken += 1
        assert len(running) <= 3
    assert refused.total() > 500
    assert added == taken + checks.waiting
    assert len(checks.clear()) == added - taken
    assert checks.waiting == 0

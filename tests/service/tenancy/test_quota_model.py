"""Quotas against a model of them: thousands of random steps, in memory and by two ledgers on a real Redis."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from service.clock import ManualClock
from service.errors import QuotaExceeded
from service.tenancy.quota import Ledger, MemoryLedger, Reservation
from service.tenancy.redis_quota import RedisLedger
from service.tenancy.team import Team
from tests.service.tenancy.on_redis import ledgers, told

TEAMS = [
    Team("both", tokens_per_minute=600, concurrent_tokens=200),
    Team("minute", tokens_per_minute=300),
    Team("at-once", concurrent_tokens=100),
    Team("free"),
]
LIVES_S = 30.0


@dataclass
class Held:
    team: Team
    tokens: int
    until_s: float
    reservation: Reservation
    forgotten: bool = False


class Model:
    """What should be admitted. `lives_s` is how long a reservation lives that nobody renews."""

    def __init__(self, lives_s: float) -> None:
        self.now_s = 0.0
        self.held: list[Held] = []
        self.charged: list[tuple[float, str, int]] = []
        self._lives_s = lives_s
        self._left = {team.name: float(team.tokens_per_minute or 0) for team in TEAMS}

    def at_once(self, team: Team) -> int:
        return sum(one.tokens for one in self.held if one.team is team and not one.forgotten)

    def wait_s(self, team: Team, tokens: int) -> float:
        """What a call now should be told: 0 is admitted, a second where others must end first. It is then that
        what has expired is forgotten."""
        for one in self.held:
            one.forgotten |= one.team is team and one.until_s <= self.now_s
        if team.concurrent_tokens is not None and self.at_once(team) + tokens > team.concurrent_tokens:
            return 1.0
        if team.tokens_per_minute is None:
            return 0.0
        return max(0.0, (tokens - self._left[team.name]) * 60 / team.tokens_per_minute)

    def admit(self, team: Team, tokens: int, reservation: Reservation) -> None:
        self._left[team.name] -= tokens
        self.held.append(Held(team, tokens, self.now_s + self._lives_s, reservation))

    def settle(self, one: Held, used: int) -> None:
        self.held.remove(one)
        self.charged.append((self.now_s, one.team.name, min(used, one.tokens)))
        if not one.forgotten:
            self._give(one.team, max(0, one.tokens - used))

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        for team in TEAMS:
            self._give(team, seconds * (team.tokens_per_minute or 0) / 60)

    def _give(self, team: Team, tokens: float) -> None:
        self._left[team.name] = min(team.tokens_per_minute or 0, self._left[team.name] + tokens)


async def walk(made: list[Ledger], clock: ManualClock, model: Model, steps: int, seed: int) -> Counter[str]:
    """Random steps; counts what was admitted, refused, and not as the model has it."""
    chance, seen = random.Random(seed), Counter[str]()
    for _ in range(steps):
        kind = chance.choices(["reserve", "settle", "clock"], [6, 4, 1])[0]
        if kind == "clock":
            seconds = chance.choice([0.25, 1.0, 4.0, 40.0])
            await clock.advance(seconds)
            model.advance(seconds)
        elif kind == "settle" and model.held:
            one = chance.choice(model.held)
            used = chance.randint(0, one.tokens + 10)
            one.reservation.settle(used)
            for ledger in made:
                if isinstance(ledger, RedisLedger):
                    await told(ledger)
            model.settle(one, used)
        elif kind == "reserve":
            seen[await reserve(chance.choice(made), model, chance.choice(TEAMS), chance.randint(1, 100))] += 1
    return seen


async def reserve(ledger: Ledger, model: Model, team: Team, tokens: int) -> str:
    expected = model.wait_s(team, tokens)
    try:
        reservation = await ledger.reserve(team, tokens)
    except QuotaExceeded as error:
        return "refused" if error.retry_after_s == pytest.approx(expected, rel=1e-6) and expected else "wrong"
    model.admit(team, tokens, reservation)
    if team.concurrent_tokens is not None and model.at_once(team) > team.concurrent_tokens:
        return "over"
    return "admitted" if expected <= 1e-9 else "wrong"


def most_in_a_minute(model: Model, team: Team) -> int:
    of_team = [(at_s, tokens) for at_s, name, tokens in model.charged if name == team.name]
    return max(sum(t for at, t in of_team if start <= at < start + 60) for start, _ in of_team)


async def whole_again(made: list[Ledger], clock: ManualClock, model: Model) -> None:
    """When all is settled and a minute has passed, each team has its whole quota."""
    for one in model.held:
        one.reservation.settle(0)
    for ledger in made:
        if isinstance(ledger, RedisLedger):
            await told(ledger)
    await clock.advance(60.0)
    for team in TEAMS[:3]:
        limits = [limit for limit in (team.tokens_per_minute, team.concurrent_tokens) if limit is not None]
        reservation = await made[0].reserve(team, min(limits))
        with pytest.raises(QuotaExceeded):
            await made[-1].reserve(Team(team.name, concurrent_tokens=min(limits)), 1)
        reservation.settle(0)


@pytest.mark.parametrize("seed", range(5))
async def test_2000_random_steps_in_memory(seed: int) -> None:
    clock, model = ManualClock(), Model(lives_s=float("inf"))
    made: list[Ledger] = [MemoryLedger(clock)]
    seen = await walk(made, clock, model, 2000, seed)
    assert (seen["wrong"], seen["over"]) == (0, 0)
    assert min(seen["admitted"], seen["refused"]) > 100
    await whole_again(made, clock, model)


@pytest.mark.parametrize("seed", range(3))
async def test_1000_random_steps_of_two_replicas(redis_url: str, seed: int) -> None:
    """Nothing is renewed here: what is not settled within 30 s is free again."""
    clock, model = ManualClock(), Model(LIVES_S)
    async with ledgers(redis_url, clock) as made:
        seen = await walk([*made], clock, model, 1000, seed)
        assert (seen["wrong"], seen["over"]) == (0, 0)
        assert min(seen["admitted"], seen["refused"]) > 100
        await whole_again([*made], clock, model)


async def test_no_minute_has_more_than_what_was_there_and_what_came_in(redis_url: str) -> None:
    """Work that is settled at once and as reserved: at most a full bucket and a minute's refill in any minute."""
    clock, shared = ManualClock(), TEAMS[1]
    async with ledgers(redis_url, clock) as made:
        sorts: list[list[Ledger]] = [[MemoryLedger(clock)], [*made]]
        for sort in sorts:
            model, chance = Model(LIVES_S), random.Random(1)
            for _ in range(400):
                await reserve(chance.choice(sort), model, shared, 20)
                for one in list(model.held):
                    one.reservation.settle(one.tokens)
                    model.settle(one, one.tokens)
                await clock.advance(0.5)
                model.advance(0.5)
            assert 300 < most_in_a_minute(model, shared) <= 600

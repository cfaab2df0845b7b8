"""Law 4 under load: what is let in is bounded and can be finished in time, and the rest is told when to come back."""

import random

import pytest

from loadtests.fairness import LOADS, overload
from loadtests.simulation import LIMITS, UNITS_PER_S, Shape
from service.clock import ManualClock, settle
from service.engine.base import LabelQuery, Prompt
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded, TimedOut
from service.scheduling import Limits, Scheduler, Tenant, Ticket
from service.scheduling.admission import AdmissionControl, QueuedTokens, ThroughputEstimate

LABELS = (1, 0)


def ask(scheduler: Scheduler, count: int, deadline_s: float | None = None, team: str = "") -> list[Ticket]:
    asks = [LabelQuery(Prompt((), (n,)), LABELS) for n in range(count)]
    return scheduler.submit(asks, [deadline_s] * count, tenant=Tenant(team))


def slow(limits: Limits, batch_s: float = 0.0, token_s: float = 0.1) -> tuple[Scheduler, FakeEngine, ManualClock]:
    """A judge of ten tokens a second, running."""
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=batch_s, token_s=token_s), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, limits)
    scheduler.start()
    return scheduler, engine, clock


async def test_what_cannot_finish_in_time_is_refused_at_once_with_when_it_would_fit() -> None:
    scheduler, _, clock = slow(Limits(max_batch_tokens=10, max_in_flight=1))
    ask(scheduler, 1000, 1.0)  # nothing is measured yet: all let in
    ask(scheduler, 60)
    await clock.advance(1.0)
    before = repr(scheduler)
    with pytest.raises(Overloaded, match="deadline") as refused:
        ask(scheduler, 20, clock.now() + 5.0)  # ten at the engine, fifty before it, itself: eight seconds
    assert refused.value.retry_after_s == 4  # for four fifths of the time are planned with
    assert repr(scheduler) == before
    ask(scheduler, 20, clock.now() + 10.0)
    await scheduler.drain(0)


async def test_a_team_of_its_own_waits_for_its_share_only() -> None:
    scheduler, _, clock = slow(Limits(max_batch_tokens=10, max_in_flight=1))
    ask(scheduler, 600, team="hog")
    await clock.advance(30.0)  # what it may go ahead is used up
    with pytest.raises(Overloaded):
        ask(scheduler, 10, clock.now() + 5.0, team="hog")
    tickets = ask(scheduler, 10, clock.now() + 5.0, team="small")
    await clock.advance(5.0)
    assert all(ticket.future.done() and ticket.future.exception() is None for ticket in tickets)
    await scheduler.drain(0)


async def test_what_is_sure_to_be_late_is_not_begun() -> None:
    scheduler, engine, clock = slow(Limits(max_batch_tokens=1, max_in_flight=2), batch_s=1.0, token_s=0.0)
    tickets = [ticket for deadline_s in (None, None, 1.5, 2.5) for ticket in ask(scheduler, 1, deadline_s)]
    await clock.advance(3.0)
    assert [type(ticket.future.exception()) for ticket in tickets] == [type(None), type(None), TimedOut, type(None)]
    assert engine.calls == 3
    await scheduler.drain(0)


async def test_a_judge_with_nothing_to_do_is_always_tried() -> None:
    """However slow it once was: a measurement must not keep the judge from being measured again."""
    scheduler, engine, clock = slow(Limits(max_batch_tokens=10), batch_s=100.0)
    ask(scheduler, 10)
    await clock.advance(200.0)
    engine._plan = FaultPlan(token_s=0.1)
    tickets = ask(scheduler, 10, clock.now() + 5.0)
    await clock.advance(5.0)
    assert all(ticket.future.exception() is None for ticket in tickets)
    await scheduler.drain(0)


async def test_the_limit_follows_the_measured_rate() -> None:
    scheduler, _, clock = slow(Limits(max_batch_tokens=10, max_in_flight=1, max_queue_s=6.0))
    ask(scheduler, 20)
    await clock.advance(1.0)
    ask(scheduler, 50)
    with pytest.raises(Overloaded) as refused:
        ask(scheduler, 25)
    assert refused.value.retry_after_s == 2  # fifteen too many at ten a second
    ask(scheduler, 10)
    await scheduler.drain(0)


async def test_a_team_that_fills_the_queue_does_not_shut_out_another() -> None:
    scheduler = Scheduler(FakeEngine(), ManualClock(), Limits(max_queued_tokens=100))
    ask(scheduler, 100, team="hog")
    ask(scheduler, 50, team="small")
    for team in ("hog", "small"):
        with pytest.raises(Overloaded):
            ask(scheduler, 1, team=team)


def test_who_has_nothing_waiting_is_let_in_whatever_its_share() -> None:
    gate, backlog = gate_of(100)
    backlog.add(Tenant("hog", weight=99.0), 100)
    gate.check(Tenant("small"), 40, None, 0)


def gate_of(max_tokens: int) -> tuple[AdmissionControl, QueuedTokens]:
    backlog = QueuedTokens()
    return AdmissionControl(ManualClock(), backlog, ThroughputEstimate(), max_tokens=max_tokens, max_s=1.0), backlog


def test_no_teams_together_wait_with_more_than_twice_the_limit() -> None:
    """1,000 histories of teams that come one after another, each asking until it is refused."""
    most = 0
    for seed in range(1000):
        rng = random.Random(seed)
        gate, backlog = gate_of(100)
        for n in range(30):
            tenant = Tenant(f"{rng.randrange(12)}", rng.choice([0.5, 1.0, 4.0]), rng.choice(["train", "eval"]))
            refused = False
            while not refused:
                try:
                    gate.check(tenant, tokens := rng.randint(1, 30), None, 0)
                    backlog.add(tenant, tokens)
                except Overloaded:
                    refused = True
            if n % 5 == 4 and (waiting := backlog.of(tenant)):
                backlog.remove(tenant, rng.randint(1, waiting))
            most = max(most, backlog.total)
    assert 150 < most <= 200


def test_the_rate_counts_time_once_however_many_batches_are_out_and_no_idle_time() -> None:
    rate = ThroughputEstimate()
    rate.start_batch(0.0)
    rate.start_batch(1.0)
    rate.finish_batch(3.0, 100)  # the shorter one, begun later, ends first
    rate.finish_batch(10.0, 900)
    assert rate.tokens_per_s == pytest.approx(100, rel=0.03)
    rate.start_batch(1000.0)
    rate.finish_batch(1001.0, 100)
    assert rate.tokens_per_s == pytest.approx(100, rel=0.03)


def test_the_rate_forgets_a_slow_start_and_is_not_misled_by_a_short_batch_or_a_failed_one() -> None:
    rate = ThroughputEstimate()
    rate.start_batch(0.0)
    rate.finish_batch(20.0, 8000)
    for n in range(60):
        rate.start_batch(20.0 + 0.2 * n)
        rate.finish_batch(20.2 + 0.2 * n, 8000)
    assert rate.tokens_per_s == pytest.approx(40_000, rel=0.1)
    rate.start_batch(100.0)
    rate.finish_batch(100.05, 20)
    rate.start_batch(200.0)
    rate.finish_batch(260.0, None)
    assert rate.tokens_per_s == pytest.approx(40_000, rel=0.15)


async def test_goodput_holds_from_once_to_ten_times_what_can_be_computed() -> None:
    found = [await overload(load, Shape(32, 1), 120) for load in LOADS]
    peak = max(one.good for one in found)
    for one in found:
        assert one.good >= 0.9 * peak
        assert one.late <= 0.01
        assert one.most <= 2 * LIMITS.max_queued_tokens
        assert one.refusal_s < 0.05
    assert found[-1].refusals > 500
    assert found[-1].good > 0.8 * UNITS_PER_S


async def test_without_refusals_at_the_door_goodput_falls() -> None:
    """The control: the same load, deadlines not looked at before the queue."""
    with_door, without = [await overload(10, Shape(32, 1), 60, doors=doors) for doors in (True, False)]
    assert without.good < 0.8 * with_door.good


async def test_a_refusal_changes_nothing_and_takes_no_time() -> None:
    scheduler, _, clock = slow(Limits(max_batch_tokens=10, max_queued_tokens=100, max_in_flight=1))
    ask(scheduler, 100)
    await settle()
    before, now = repr(scheduler), clock.now()
    for _ in range(100):
        with pytest.raises(Overloaded):
            scheduler.check_capacity(tokens=50)
    assert (repr(scheduler), clock.now()) == (before, now)
    await scheduler.drain(0)

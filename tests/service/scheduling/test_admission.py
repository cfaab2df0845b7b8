"""Law 4: what is admitted is bounded and can be finished in time; a refusal says when to come back."""

import random

import pytest

from service.clock import ManualClock, settle
from service.engine.base import LabelQuery, Prompt
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded
from service.scheduling import Scheduler, Tenant, Ticket, costs
from service.scheduling.admission import AdmissionControl, QueuedTokens, ThroughputEstimate
from service.settings import SchedulingSettings

LABELS = (1, 0)


def submit(scheduler: Scheduler, count: int, deadline_s: float | None = None, team: str = "") -> list[Ticket]:
    queries = [LabelQuery(Prompt((), (n,)), LABELS) for n in range(count)]
    return scheduler.submit(queries, [deadline_s] * count, tenant=Tenant(team))


def slow(
    limits: SchedulingSettings, batch_s: float = 0.0, token_s: float = 0.1
) -> tuple[Scheduler, FakeEngine, ManualClock]:
    """A judge of ten tokens a second, running."""
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=batch_s, token_s=token_s), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, limits)
    scheduler.start()
    return scheduler, engine, clock


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    scheduler, _, clock = slow(SchedulingSettings(max_batch_tokens=10, max_queued_tokens=50, max_in_flight=1))
    submit(scheduler, 10)
    await clock.advance(1.0)  # ten tokens in a second: the measured throughput
    submit(scheduler, 60)
    await settle()
    before = repr(scheduler)
    with pytest.raises(Overloaded) as refused:
        submit(scheduler, 30)
    assert refused.value.retry_after_s == 3  # 30 tokens too many at 10 a second
    assert repr(scheduler) == before
    await scheduler.drain(0)


async def test_work_that_cannot_finish_in_time_is_refused_with_when_it_would_fit() -> None:
    scheduler, _, clock = slow(SchedulingSettings(max_batch_tokens=10, max_in_flight=1))
    submit(scheduler, 1000, 1.0)  # nothing is measured yet, so all is admitted
    submit(scheduler, 60)
    await clock.advance(1.0)
    before = repr(scheduler)
    with pytest.raises(Overloaded, match="deadline") as refused:
        submit(scheduler, 20, clock.now() + 5.0)  # ten in flight, fifty queued, its own: eight seconds
    assert refused.value.retry_after_s == 4  # four fifths of the time are planned with
    assert repr(scheduler) == before
    submit(scheduler, 20, clock.now() + 10.0)
    await scheduler.drain(0)


async def test_a_team_waits_for_its_own_share_only() -> None:
    scheduler, _, clock = slow(SchedulingSettings(max_batch_tokens=10, max_in_flight=1))
    submit(scheduler, 600, team="noisy")
    await clock.advance(30.0)  # its burst credit is used up
    with pytest.raises(Overloaded):
        submit(scheduler, 10, clock.now() + 5.0, team="noisy")
    tickets = submit(scheduler, 10, clock.now() + 5.0, team="small")
    await clock.advance(5.0)
    assert all(ticket.future.done() and ticket.future.exception() is None for ticket in tickets)
    await scheduler.drain(0)


async def test_an_idle_judge_is_always_tried() -> None:
    """However slow it once was: a measurement must not keep the judge from being measured again."""
    scheduler, engine, clock = slow(SchedulingSettings(max_batch_tokens=10), batch_s=100.0)
    submit(scheduler, 10)
    await clock.advance(200.0)
    engine.plan = FaultPlan(token_s=0.1)
    tickets = submit(scheduler, 10, clock.now() + 5.0)
    await clock.advance(5.0)
    assert all(ticket.future.exception() is None for ticket in tickets)
    await scheduler.drain(0)


async def test_the_limit_follows_the_measured_throughput() -> None:
    scheduler, _, clock = slow(SchedulingSettings(max_batch_tokens=10, max_in_flight=1, max_queue_s=6.0))
    submit(scheduler, 20)
    await clock.advance(1.0)
    submit(scheduler, 50)
    with pytest.raises(Overloaded) as refused:
        submit(scheduler, 25)
    assert refused.value.retry_after_s == 2  # fifteen tokens too many at ten a second
    submit(scheduler, 10)
    await scheduler.drain(0)


async def test_a_team_that_fills_the_queue_does_not_shut_out_another() -> None:
    scheduler = Scheduler(FakeEngine(), ManualClock(), SchedulingSettings(max_queued_tokens=100))
    submit(scheduler, 100, team="noisy")
    submit(scheduler, 50, team="small")
    for team in ("noisy", "small"):
        with pytest.raises(Overloaded):
            submit(scheduler, 1, team=team)


def test_a_tenant_with_nothing_queued_is_admitted_whatever_its_share() -> None:
    control, queued = admission(100)
    queued.add(Tenant("noisy", weight=99.0), 100)
    control.check(Tenant("small"), 40, None, 0)


def admission(max_tokens: int) -> tuple[AdmissionControl, QueuedTokens]:
    queued = QueuedTokens()
    return AdmissionControl(ManualClock(), queued, ThroughputEstimate(), max_tokens=max_tokens, max_s=1.0), queued


def test_all_teams_together_queue_no_more_than_twice_the_limit() -> None:
    """1,000 histories of teams that come one after another, each submitting until it is refused."""
    most = 0
    for seed in range(1000):
        rng = random.Random(seed)
        control, queued = admission(100)
        for n in range(30):
            tenant = Tenant(f"{rng.randrange(12)}", rng.choice([0.5, 1.0, 4.0]), rng.choice(["train", "eval"]))
            refused = False
            while not refused:
                try:
                    control.check(tenant, tokens := rng.randint(1, 30), None, 0)
                    queued.add(tenant, tokens)
                except Overloaded:
                    refused = True
            if n % 5 == 4 and (own := queued.of(tenant)):
                queued.remove(tenant, rng.randint(1, own))
            most = max(most, queued.total)
    assert 150 < most <= 200


def test_throughput_counts_busy_time_once_and_no_idle_time() -> None:
    throughput = ThroughputEstimate()
    throughput.start_batch(0.0)
    throughput.start_batch(1.0)
    throughput.finish_batch(3.0, 100)  # the shorter one, started later, ends first
    throughput.finish_batch(10.0, 900)
    assert throughput.tokens_per_s == pytest.approx(100, rel=0.03)
    throughput.start_batch(1000.0)
    throughput.finish_batch(1001.0, 100)
    assert throughput.tokens_per_s == pytest.approx(100, rel=0.03)


def test_throughput_forgets_a_slow_start_and_is_not_misled_by_a_short_or_failed_batch() -> None:
    throughput = ThroughputEstimate()
    throughput.start_batch(0.0)
    throughput.finish_batch(20.0, 8000)
    for n in range(60):
        throughput.start_batch(20.0 + 0.2 * n)
        throughput.finish_batch(20.2 + 0.2 * n, 8000)
    assert throughput.tokens_per_s == pytest.approx(40_000, rel=0.1)
    throughput.start_batch(100.0)
    throughput.finish_batch(100.05, 20)
    throughput.start_batch(200.0)
    throughput.finish_batch(260.0, None)
    assert throughput.tokens_per_s == pytest.approx(40_000, rel=0.15)


async def test_a_refusal_changes_nothing_and_takes_no_time() -> None:
    scheduler, _, clock = slow(SchedulingSettings(max_batch_tokens=10, max_queued_tokens=100, max_in_flight=1))
    submit(scheduler, 100)
    await settle()
    before, now = repr(scheduler), clock.now()
    for _ in range(100):
        with pytest.raises(Overloaded):
            scheduler.check_capacity(tokens=50)
    assert (repr(scheduler), clock.now()) == (before, now)
    await scheduler.drain(0)


def test_costs_count_a_common_prefix_once() -> None:
    shared = (1, 2, 3)
    queries = [LabelQuery(Prompt(shared, (n,)), LABELS) for n in range(3)]
    assert costs(queries) == [4, 1, 1]
    assert costs([]) == []


def test_costs_count_a_prefix_again_in_each_batch_that_begins_without_it() -> None:
    queries = [LabelQuery(Prompt((1, 2, 3), (n,)), LABELS) for n in range(5)]
    assert costs(queries, 6) == [4, 1, 1, 4, 1]
    assert costs(queries, 3) == [4, 4, 4, 4, 4]  # each is larger than a batch, and goes alone
    assert costs(queries, 100) == costs(queries)

"""Laws 2 to 4: every ticket is answered exactly once, whatever the engine or the caller does, and a drain ends."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.clock import ManualClock, settle
from service.engine.base import (
    EngineResult,
    Generation,
    GenerationQuery,
    LabelLogprobs,
    LabelQuery,
    Prompt,
    Sampling,
)
from service.engine.fake import FakeEngine, FaultPlan, oracle
from service.errors import Cancelled, EngineFailed, JudgementError, Overloaded, TimedOut, Unavailable
from service.scheduling import Scheduler, Ticket
from service.settings import SchedulingSettings

LABELS = (1, 0)
LIMITS = SchedulingSettings()


def prompt(n: int, shared: tuple[int, ...] = (), own: int = 1) -> Prompt:
    return Prompt(shared=shared, own=(n,) * own)


def prompts(count: int) -> list[Prompt]:
    return [prompt(n) for n in range(count)]


@asynccontextmanager
async def running(
    engine: FakeEngine, limits: SchedulingSettings = LIMITS, clock: ManualClock | None = None
) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(engine, clock or ManualClock(), limits)
    scheduler.start()
    yield scheduler
    await scheduler.drain(0)


def submit(scheduler: Scheduler, sent: Sequence[Prompt], deadline_s: float | None = None) -> list[Ticket]:
    return scheduler.submit([LabelQuery(prompt, LABELS) for prompt in sent], [deadline_s] * len(sent))


def take(scheduler: Scheduler) -> list[Ticket]:
    taken = scheduler.take()
    return [] if taken is None else taken[1].tickets


def logprobs_of(ticket: Ticket) -> LabelLogprobs:
    answer = ticket.future.result()
    assert isinstance(answer, LabelLogprobs)
    return answer


async def outcome(ticket: Ticket) -> EngineResult | str:
    try:
        return await ticket.future
    except JudgementError as error:
        return error.code


async def test_every_prompt_gets_its_own_result() -> None:
    async with running(FakeEngine(), SchedulingSettings(max_batch_tokens=3)) as scheduler:
        sent = prompts(20)
        reads = [await ticket.future for ticket in submit(scheduler, sent)]
    assert reads == [oracle(p.ids) for p in sent]


async def test_a_cancelled_ticket_frees_its_place_at_once_and_never_reaches_the_engine() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with running(engine, SchedulingSettings(max_batch_tokens=1, max_in_flight=1), clock) as scheduler:
        tickets = submit(scheduler, prompts(1000))
        await settle()
        for ticket in tickets[1:]:
            ticket.cancel()
        assert scheduler.queued_tokens == 0
        assert [ticket.future.done() for ticket in tickets] == [False] + [True] * 999
        await clock.advance(5.0)
        assert engine.seen_ids == [(0,)]


async def test_expired_work_never_reaches_the_engine() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with running(engine, SchedulingSettings(max_batch_tokens=1, max_in_flight=1), clock) as scheduler:
        [patient, hasty, late] = [
            *submit(scheduler, [prompt(0)]),
            *submit(scheduler, prompts(2)[1:], 0.5),
            *submit(scheduler, [prompt(2)], 5.0),
        ]
        await clock.advance(3.0)
        assert [await outcome(t) for t in (patient, hasty, late)] == [oracle((0,)), "timeout", oracle((2,))]
    assert (1,) not in engine.seen_ids


async def test_work_in_flight_is_bounded() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with running(engine, SchedulingSettings(max_batch_tokens=2, max_in_flight=3), clock) as scheduler:
        submit(scheduler, prompts(40))
        await settle()
        assert engine.calls == 3
        await clock.advance(1.0)
        assert engine.calls == 6


async def test_a_drain_finishes_accepted_work_and_refuses_new_work() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, SchedulingSettings(max_batch_tokens=10, max_in_flight=1))
    scheduler.start()
    tickets = submit(scheduler, prompts(50))
    draining = asyncio.create_task(scheduler.drain(grace_s=3.5))
    await settle()
    with pytest.raises(Unavailable, match="shutting down"):
        submit(scheduler, prompts(1))
    await clock.advance(10.0)
    await draining
    codes = [await outcome(ticket) for ticket in tickets]
    assert sum(isinstance(code, LabelLogprobs) for code in codes) == 30
    assert codes.count("cancelled") == 20


async def test_a_dead_runner_fails_every_ticket_and_refuses_new_work(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(FakeEngine(), ManualClock(), SchedulingSettings())

    def broken() -> list[Ticket]:
        raise RuntimeError("a bug in take")

    monkeypatch.setattr(scheduler, "take", broken)
    scheduler.start()
    tickets = submit(scheduler, prompts(5))
    await settle()
    assert [await outcome(ticket) for ticket in tickets] == ["engine_error"] * 5
    assert scheduler.unavailable_reason is not None
    assert scheduler.dead
    with pytest.raises(Unavailable, match="restart"):
        submit(scheduler, prompts(1))


@pytest.mark.parametrize("fault", ["batch", "crash", "few", "many"])
async def test_a_failed_batch_fails_its_members_and_nobody_else(fault: str) -> None:
    engine = FakeEngine(plan=FaultPlan(script=("ok", fault)))  # type: ignore[arg-type]
    async with running(engine, SchedulingSettings(max_batch_tokens=4, max_in_flight=1)) as scheduler:
        sent = prompts(12)
        outcomes = [await outcome(ticket) for ticket in submit(scheduler, sent)]
    reads: list[EngineResult | str] = [oracle(p.ids) for p in sent]
    assert outcomes == reads[:4] + ["engine_error"] * 4 + reads[8:]


RATES = {"batch": 0.1, "crash": 0.1, "some": 0.1, "few": 0.1, "many": 0.1, "nan": 0.05, "low_mass": 0.05}


async def test_under_faults_and_cancellations_every_ticket_is_answered_once_and_right() -> None:
    """10,000 tickets: each ends with its own result, a typed failure or cancelled, and none is left open."""
    rng = random.Random(7)
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(rates=RATES, batch_s=0.01), sleep=clock.sleep)  # type: ignore[arg-type]
    wrong, endings = 0, {"read": 0, "failed": 0, "cancelled": 0, "unreadable": 0}
    async with running(engine, SchedulingSettings(max_batch_tokens=64, max_in_flight=2), clock) as scheduler:
        for round_ in range(100):
            sent = [Prompt(shared=(round_, round_), own=(n, rng.randrange(1000))) for n in range(100)]
            tickets = submit(scheduler, sent, clock.now() + rng.choice([0.02, 1.0]))
            cancelled = set(rng.sample(range(100), 10))
            for n in cancelled:
                tickets[n].cancel()
            await clock.advance(5.0)
            for n, (p, ticket) in enumerate(zip(sent, tickets, strict=True)):
                assert ticket.future.done()
                if ticket.future.cancelled():
                    endings["cancelled"] += 1
                    assert n in cancelled
                elif isinstance(ticket.future.exception(), TimedOut | EngineFailed):
                    endings["failed"] += 1
                elif not (max(logprobs_of(ticket).logprobs) >= -10):
                    endings["unreadable"] += 1
                else:
                    wrong += logprobs_of(ticket) != oracle(p.ids)
                    endings["read"] += 1
        assert scheduler.queued_tokens == 0
        assert scheduler.in_flight_tickets == 0
    assert sum(endings.values()) == 10_000
    assert wrong == 0
    assert min(endings.values()) > 50


async def test_stopping_answers_tickets_in_flight() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=("hang",)), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, SchedulingSettings())
    scheduler.start()
    tickets = submit(scheduler, prompts(3))
    await settle()
    await scheduler.drain(0)
    assert [type(ticket.future.exception()) for ticket in tickets] == [Cancelled] * 3


def generation(n: int, max_tokens: int = 10) -> GenerationQuery:
    return GenerationQuery(prompt(n), Sampling(max_tokens=max_tokens))


async def test_generations_do_not_hold_up_label_queries() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=("hang",)), sleep=clock.sleep)
    async with running(engine, SchedulingSettings(max_in_flight=1), clock) as scheduler:
        generations = scheduler.submit([generation(0)], [None])
        await settle()
        tickets = submit(scheduler, prompts(3))
        await settle()
        assert [await outcome(ticket) for ticket in tickets] == [oracle((n,)) for n in range(3)]
        assert not generations[0].future.done()


async def test_a_generation_costs_its_longest_text_and_their_number_is_bounded() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    engine.streams = True
    async with running(engine, SchedulingSettings(max_concurrent_generations=3), clock) as scheduler:
        tickets = scheduler.submit([generation(n) for n in range(8)], [None] * 8)
        assert scheduler.queued_tokens == 88
        await settle()
        assert scheduler.in_flight_tickets == 3
        await clock.advance(5.0)
        assert all(isinstance(ticket.future.result(), Generation) for ticket in tickets)


async def test_a_streaming_engine_gets_one_prefix_at_a_time_within_its_tokens() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    engine.streams = True
    async with running(engine, SchedulingSettings(max_batch_tokens=200, max_in_flight=1), clock) as scheduler:
        prefixes = [(n,) * 50 for n in range(10)]
        submit(scheduler, [prompt(n, shared) for shared in prefixes for n in range(3)])
        await settle()
        assert engine.calls == 4  # 53 tokens each: the fourth passes the 200
        assert scheduler.in_flight_tickets == 12


async def test_label_queries_of_different_labels_are_answered_in_order() -> None:
    async with running(FakeEngine()) as scheduler:
        queries = [LabelQuery(prompt(n), LABELS if n % 2 else (1, 2, 3)) for n in range(6)]
        tickets = scheduler.submit(queries, [None] * 6)
        reads = [await ticket.future for ticket in tickets]
    assert reads == [oracle((n,), labels=2 if n % 2 else 3) for n in range(6)]


async def test_an_engine_that_is_down_refuses_new_work() -> None:
    engine = FakeEngine(plan=FaultPlan(script=("hang",)))
    async with running(engine, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as scheduler:
        submit(scheduler, prompts(1))
        await settle()
        engine.down = "the engine died; it is being started again"
        with pytest.raises(Unavailable, match="started again"):
            submit(scheduler, prompts(1))
        engine.down = None
        submit(scheduler, prompts(1))


async def test_an_engine_that_pauses_refuses_new_work_until_it_goes_on() -> None:
    engine = FakeEngine()
    async with running(engine) as scheduler:
        engine.pause_s = 12.5
        with pytest.raises(Overloaded) as refused:
            submit(scheduler, prompts(1))
        assert refused.value.retry_after_s == 12.5 and scheduler.unavailable_reason is None
        engine.pause_s = 0.0
        submit(scheduler, prompts(1))


async def test_the_engine_is_told_to_cancel_a_prompt_that_nobody_waits_for() -> None:
    engine = FakeEngine(plan=FaultPlan(script=("hang",)))
    async with running(engine) as scheduler:
        sent = prompts(2)
        tickets = submit(scheduler, sent)
        await settle()
        tickets[1].cancel()
        assert engine.cancelled == [sent[1]]

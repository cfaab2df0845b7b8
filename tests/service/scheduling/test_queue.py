"""The queue's batches and their order: the fairest tenant, in it started groups, and next steps before those."""

import time
from collections.abc import Hashable, Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.clock import ManualClock
from service.engine.base import LabelQuery, Prompt
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded, TimedOut
from service.scheduling import DEFAULT_TENANT, PriorityClass, Scheduler, Tenant, Ticket
from service.scheduling.admission import cost_of
from service.settings import SchedulingSettings

LABELS = (1, 0)
ONE_A_BATCH = SchedulingSettings(max_batch_tokens=1)


def label_queries(names: Sequence[int], own: int = 1) -> list[LabelQuery]:
    return [LabelQuery(Prompt(shared=(), own=(name,) * own), LABELS) for name in names]


def stopped(limits: SchedulingSettings = ONE_A_BATCH, streams: bool = False) -> Scheduler:
    """A scheduler whose runner was not started, so that only the test takes batches. An engine that `streams` keeps
    prefixes."""
    engine = FakeEngine()
    engine.streams = streams
    return Scheduler(engine, ManualClock(), limits)


def put(
    scheduler: Scheduler,
    names: Sequence[int],
    tenant: Tenant = DEFAULT_TENANT,
    groups: Sequence[Hashable] | None = None,
    next_step: bool = False,
) -> list[Ticket]:
    queries = label_queries(names)
    return scheduler.submit(queries, [None] * len(names), tenant=tenant, groups=groups, next_step=next_step)


def submit(scheduler: Scheduler, queries: Sequence[LabelQuery]) -> list[Ticket]:
    return scheduler.submit(queries, [None] * len(queries))


def name_of(ticket: Ticket) -> int:
    return ticket.query.prompt.own[0]


def take(scheduler: Scheduler) -> list[Ticket]:
    taken = scheduler.take()
    return [] if taken is None else taken[1].tickets


def take_names(scheduler: Scheduler, batches: int = 1000) -> list[int]:
    names: list[int] = []
    while batches and (tickets := take(scheduler)):
        names += map(name_of, tickets)
        batches -= 1
    return names


async def test_queries_of_a_queued_group_join_it() -> None:
    scheduler = stopped()
    put(scheduler, [1, 2], groups=["a", "b"])
    put(scheduler, [3, 4], groups=["a", "c"])
    assert take_names(scheduler) == [1, 3, 2, 4]


async def test_a_group_that_was_taken_goes_before_groups_that_have_not_started() -> None:
    scheduler = stopped()
    put(scheduler, [1], groups=["a"])
    assert take_names(scheduler) == [1]
    put(scheduler, [2, 3, 4], groups=["b", "c", "a"])
    assert take_names(scheduler) == [4, 2, 3]


async def test_a_started_group_is_forgotten_after_many_others() -> None:
    scheduler = stopped()
    put(scheduler, range(1000), groups=range(1000))
    take_names(scheduler)
    put(scheduler, [1, 2, 3], groups=["new", 0, 999])
    assert take_names(scheduler) == [3, 1, 2]


async def test_next_steps_go_first_of_their_team_and_not_before_another() -> None:
    scheduler = stopped()
    small, noisy = Tenant("small"), Tenant("noisy")
    put(scheduler, [0], small)
    put(scheduler, range(100, 150), noisy)
    take_names(scheduler, 41)
    put(scheduler, [1, 2], small)
    put(scheduler, [99], noisy, next_step=True)
    assert take_names(scheduler)[:4] == [1, 2, 99, 140]


async def test_a_batch_stays_with_one_team_and_is_filled_up_from_the_next() -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=4))
    put(scheduler, [1] * 6, Tenant("a"))
    put(scheduler, [2] * 6, Tenant("b"))
    assert [take_names(scheduler, 1) for _ in range(3)] == [[1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 2, 2]]


def sharing(prefix: int, shared: int = 1000, criteria: int = 2) -> list[LabelQuery]:
    """About one response, whose prefix no other one has."""
    common = (prefix,) * shared
    return [LabelQuery(Prompt(common, (own,) * 20), LABELS) for own in range(criteria)]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("gone", ["cancelled", "late"])
async def test_a_prefix_is_paid_for_by_whom_it_is_computed_for(gone: str, streams: bool) -> None:
    """A team gives up, or lets expire, the first criterion of each response, which was to pay for its prefix, and keeps
    the second one by another request for the same. It gets no more tokens than an equal team, not 38 times as many."""
    limits = SchedulingSettings(max_batch_tokens=4096, max_queued_tokens=10**9, max_in_flight=1000)
    scheduler = stopped(limits, streams)
    for n in range(300):
        for team in ("sly", "fair"):
            until_s = 0.0 if (team, gone) == ("sly", "late") else None
            tickets = scheduler.submit(
                sharing(n + 1000 * (team == "sly")), [until_s, None], tenant=Tenant(team), groups=[(team, n)] * 2
            )
            if (team, gone) == ("sly", "cancelled"):
                tickets[0].cancel()
    computed = {"sly": 0, "fair": 0}
    while sum(computed.values()) < 250_000:
        batch = take(scheduler)
        before: Prompt | None = None
        for ticket in batch:
            cost = cost_of(ticket.query, before)
            computed[ticket.tenant.team] += cost
            assert ticket.cost == cost  # so that a team's judge time is counted right, too
            before = ticket.query.prompt
    assert abs(computed["sly"] - computed["fair"]) < 2 * 4096
    for _ in range(1000):
        take(scheduler)
    assert scheduler.queued_tokens == 0


async def test_a_long_prefix_is_charged_as_often_as_it_is_computed() -> None:
    """An engine that keeps none computes it for each batch again, so a response with many criteria costs a team as much
    as it costs the judge; one that keeps it computes it once."""
    limits = SchedulingSettings(max_batch_tokens=100)  # 25 tokens after the first 1,020
    for streams, planned in ((False, [1020, 20, 1020, 20, 1020]), (True, [1020, 20, 20, 20, 20])):
        scheduler = stopped(limits, streams)
        queries = sharing(1, criteria=5)
        assert scheduler.costs(queries) == planned
        scheduler.submit(queries, [None] * 5, groups=["a"] * 5)
        batches = [take(scheduler) for _ in range(3)]
        assert [len(batch) for batch in batches] == [2, 2, 1]
        assert [ticket.cost for batch in batches for ticket in batch] == planned
        assert scheduler.queued_tokens == 0


@hypothesis_settings(max_examples=200)
@given(st.data(), st.booleans())
async def test_what_a_team_is_charged_is_what_the_engine_computes_for_it(data: st.DataObject, streams: bool) -> None:
    """Whoever gives up which query when. An engine that keeps prefixes may compute less: of a group that comes back."""
    scheduler = stopped(SchedulingSettings(max_batch_tokens=100, max_in_flight=1000), streams)
    waiting: list[Ticket] = []
    kept: dict[Hashable, Prompt] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        group = (data.draw(st.sampled_from("ab")), data.draw(st.integers(0, 3)))
        queries = sharing(
            group[1] + 10 * (group[0] == "b"),
            shared=data.draw(st.integers(0, 200)),
            criteria=data.draw(st.integers(1, 6)),
        )
        waiting += scheduler.submit(
            queries, [None] * len(queries), tenant=Tenant(group[0]), groups=[group] * len(queries)
        )
        for gone in data.draw(st.sets(st.integers(0, len(waiting) - 1), max_size=3)):
            waiting[gone].cancel()
        for _ in range(data.draw(st.integers(0, 3))):
            before: Prompt | None = None
            for ticket in take(scheduler):
                assert ticket.cost >= cost_of(ticket.query, kept.get(ticket.group) if streams else before)
                assert streams or ticket.cost == cost_of(ticket.query, before)
                before = kept[ticket.group] = ticket.query.prompt
    while batch := take(scheduler):
        assert all(not ticket.future.cancelled() for ticket in batch)
    assert scheduler.queued_tokens == 0


async def test_giant_responses_get_a_team_no_more_than_small_ones() -> None:
    """Of a judge that keeps no prefix: 200 criteria of each response of 8,000 tokens, beside one of each small one.
    While such a prefix was computed in each batch of 8,192 and counted once, the giant ones got 14 times the tokens."""
    scheduler = stopped(SchedulingSettings(max_queued_tokens=10**9, max_in_flight=1000))
    for n in range(30):
        giant = sharing(n, shared=8000, criteria=200)
        scheduler.submit(giant, [None] * 200, tenant=Tenant("giant"), groups=[("giant", n)] * 200)
    for n in range(3000):
        scheduler.submit(sharing(n, shared=200, criteria=1), [None], tenant=Tenant("small"), groups=[("small", n)])
    computed = {"giant": 0, "small": 0}
    for _ in range(100):
        before: Prompt | None = None
        for ticket in take(scheduler):
            computed[ticket.tenant.team] += cost_of(ticket.query, before)
            before = ticket.query.prompt
    assert sum(computed.values()) > 600_000
    assert abs(computed["giant"] - computed["small"]) < 2 * 8192


async def test_three_classes_give_a_team_no_more() -> None:
    scheduler = stopped()
    for priority_class in get_args(PriorityClass):
        put(scheduler, [1] * 300, Tenant("many", priority_class=priority_class))
    put(scheduler, [2] * 300, Tenant("one"))
    assert take_names(scheduler, 200).count(2) == 100


async def test_a_cancelled_ticket_is_out_of_every_sum() -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=2))
    mine, theirs = put(scheduler, [1] * 50, Tenant("mine")), put(scheduler, [2] * 50, Tenant("theirs"))
    [urgent] = put(scheduler, [3], Tenant("mine", priority_class="interactive"))
    assert scheduler.queued_by() == {("mine", "train"): 50, ("mine", "interactive"): 1, ("theirs", "train"): 50}
    urgent.cancel()
    for ticket in mine[:49] + theirs:
        ticket.cancel()
    assert scheduler.queued_by() == {("mine", "train"): 1}
    assert take_names(scheduler) == [1]
    assert scheduler.queued_by() == {}


async def test_a_hundred_thousand_tickets_cost_no_more_each_than_a_thousand() -> None:
    def seconds(count: int) -> float:
        scheduler = stopped(SchedulingSettings(max_batch_tokens=10, max_queued_tokens=10**9))
        queries = label_queries(range(count))
        started = time.process_time()
        tickets = scheduler.submit(queries, [None] * count, groups=[n % 7 for n in range(count)])
        for ticket in tickets[::2]:
            ticket.cancel()
        assert len(take_names(scheduler, 10**9)) == count // 2
        return (time.process_time() - started) / count

    few = min(seconds(1000) for _ in range(3))
    assert seconds(100_000) < 30 * few  # where each ticket looked at all others it would be 100


async def test_a_batch_closes_on_the_token_budget_in_order_of_arrival() -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=10))
    submit(scheduler, label_queries(range(5), own=4))
    assert [[name_of(ticket) for ticket in take(scheduler)] for _ in range(3)] == [[0, 1], [2, 3], [4]]
    assert scheduler.take() is None
    assert scheduler.queued_tokens == 0


async def test_a_shared_prefix_counts_once_if_its_queries_are_neighbours() -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=110))
    shared = tuple(range(100))
    submit(scheduler, [LabelQuery(Prompt(shared, (n,)), LABELS) for n in range(40)])
    assert scheduler.queued_tokens == 240  # once in each of two batches
    batches = [take(scheduler), take(scheduler)]
    assert [len(batch) for batch in batches] == [28, 12]  # a quarter of 110 after the first one's 101
    other = LabelQuery(Prompt((7,) * 100, (7,)), LABELS)
    submit(scheduler, [LabelQuery(Prompt(shared, (1,)), LABELS), other])
    assert len(take(scheduler)) == 1  # what has another prefix is held to the budget


async def test_a_query_over_the_token_budget_goes_alone() -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=2))
    submit(scheduler, [*label_queries([0]), *label_queries([1], own=9), *label_queries([2])])
    assert [len(take(scheduler)) for _ in range(3)] == [1, 1, 1]


async def test_a_next_step_goes_first_and_is_admitted_to_a_full_queue() -> None:
    scheduler = stopped(SchedulingSettings(max_queued_tokens=3))
    put(scheduler, range(3))
    with pytest.raises(Overloaded):
        put(scheduler, [3])
    put(scheduler, [7], next_step=True)
    assert [name_of(ticket) for ticket in take(scheduler)] == [7, 0, 1, 2]


async def test_a_query_that_is_sure_to_be_late_is_not_started() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=2))
    scheduler.start()
    tickets = [scheduler.submit(label_queries([0]), [deadline_s])[0] for deadline_s in (None, None, 1.5, 2.5)]
    await clock.advance(3.0)
    assert [type(ticket.future.exception()) for ticket in tickets] == [type(None), type(None), TimedOut, type(None)]
    assert engine.calls == 3
    await scheduler.drain(0)


@hypothesis_settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    budget=st.integers(1, 20),
    cancelled=st.sets(st.integers(0, 29)),
)
async def test_take_keeps_order_and_budget_and_leaves_nothing(
    sizes: list[int], budget: int, cancelled: set[int]
) -> None:
    scheduler = stopped(SchedulingSettings(max_batch_tokens=budget))
    tickets = submit(scheduler, [LabelQuery(Prompt((), (n,) * size), LABELS) for n, size in enumerate(sizes)])
    for n in cancelled & set(range(len(sizes))):
        tickets[n].cancel()
    names: list[int] = []
    while batch := take(scheduler):
        assert len(batch) == 1 or sum(len(ticket.query.prompt) for ticket in batch) <= budget
        names += map(name_of, batch)
    assert names == [n for n in range(len(sizes)) if n not in cancelled]
    assert scheduler.queued_tokens == 0

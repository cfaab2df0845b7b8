"""What goes first: the fairest team, in it the groups that have begun, and next steps before those."""

import time
from collections.abc import Hashable, Sequence
from typing import get_args

from service.clock import ManualClock
from service.engine.base import GenerationQuery, LabelQuery, Prompt
from service.engine.fake import FakeEngine
from service.scheduling import DEFAULT_TENANT, Limits, PriorityClass, Scheduler, Tenant, Ticket, costs

LABELS = (1, 0)


def asks(names: Sequence[int], own: int = 1) -> list[LabelQuery | GenerationQuery]:
    return [LabelQuery(Prompt(shared=(), own=(name,) * own), LABELS) for name in names]


def queue(batch_tokens: int = 1) -> Scheduler:
    return Scheduler(FakeEngine(), ManualClock(), Limits(max_batch_tokens=batch_tokens))


def put(
    scheduler: Scheduler,
    names: Sequence[int],
    tenant: Tenant = DEFAULT_TENANT,
    groups: Sequence[Hashable] | None = None,
    next_step: bool = False,
) -> list[Ticket]:
    return scheduler.submit(asks(names), [None] * len(names), tenant=tenant, groups=groups, next_step=next_step)


def taken(scheduler: Scheduler, batches: int = 1000) -> list[int]:
    found: list[int] = []
    while batches and (batch := scheduler.take()) is not None:
        found += [ticket.query.prompt.own[0] for ticket in batch[1].tickets]
        batches -= 1
    return found


async def test_questions_of_a_group_that_waits_join_it() -> None:
    scheduler = queue()
    put(scheduler, [1, 2], groups=["a", "b"])
    put(scheduler, [3, 4], groups=["a", "c"])
    assert taken(scheduler) == [1, 3, 2, 4]


async def test_a_group_that_was_taken_goes_before_groups_that_have_not_begun() -> None:
    scheduler = queue()
    put(scheduler, [1], groups=["a"])
    assert taken(scheduler) == [1]
    put(scheduler, [2, 3, 4], groups=["b", "c", "a"])
    assert taken(scheduler) == [4, 2, 3]


async def test_what_has_begun_is_forgotten_in_time() -> None:
    scheduler = queue()
    put(scheduler, range(1000), groups=range(1000))
    taken(scheduler)
    put(scheduler, [1, 2, 3], groups=["new", 0, 999])
    assert taken(scheduler) == [3, 1, 2]


async def test_next_steps_go_first_of_their_team_and_not_before_another() -> None:
    scheduler = queue()
    small, hog = Tenant("small"), Tenant("hog")
    put(scheduler, [0], small)
    put(scheduler, range(100, 150), hog)
    taken(scheduler, 41)
    put(scheduler, [1, 2], small)
    put(scheduler, [99], hog, next_step=True)
    assert taken(scheduler)[:4] == [1, 2, 99, 140]


async def test_a_batch_stays_with_one_team_and_is_filled_up_from_the_next() -> None:
    scheduler = queue(batch_tokens=4)
    put(scheduler, [1] * 6, Tenant("a"))
    put(scheduler, [2] * 6, Tenant("b"))
    assert [taken(scheduler, 1) for _ in range(3)] == [[1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 2, 2]]


async def test_three_classes_give_a_team_no_more() -> None:
    scheduler = queue()
    for priority_class in get_args(PriorityClass):
        put(scheduler, [1] * 300, Tenant("many", priority_class=priority_class))
    put(scheduler, [2] * 300, Tenant("one"))
    assert taken(scheduler, 200).count(2) == 100


async def test_who_leaves_is_out_of_every_sum() -> None:
    scheduler = queue(batch_tokens=2)
    mine, theirs = put(scheduler, [1] * 50, Tenant("mine")), put(scheduler, [2] * 50, Tenant("theirs"))
    [urgent] = put(scheduler, [3], Tenant("mine", priority_class="interactive"))
    assert scheduler.queued_by() == {("mine", "train"): 50, ("mine", "interactive"): 1, ("theirs", "train"): 50}
    urgent.cancel()
    for ticket in mine[:49] + theirs:
        ticket.cancel()
    assert scheduler.queued_by() == {("mine", "train"): 1}
    assert taken(scheduler) == [1]
    assert scheduler.queued_by() == {}


async def test_a_hundred_thousand_tickets_cost_no_more_each_than_a_thousand() -> None:
    def seconds(count: int) -> float:
        scheduler = Scheduler(FakeEngine(), ManualClock(), Limits(max_batch_tokens=10, max_queued_tokens=10**9))
        one = asks(range(count))
        started = time.process_time()
        tickets = scheduler.submit(one, [None] * count, groups=[n % 7 for n in range(count)])
        for ticket in tickets[::2]:
            ticket.cancel()
        assert len(taken(scheduler, 10**9)) == count // 2
        return (time.process_time() - started) / count

    few = min(seconds(1000) for _ in range(3))
    assert seconds(100_000) < 5 * few


def test_costs_count_what_two_begin_with_once() -> None:
    shared = (1, 2, 3)
    both = [LabelQuery(Prompt(shared, (n,)), LABELS) for n in range(3)]
    assert costs(both) == [4, 1, 1]
    assert costs([]) == []

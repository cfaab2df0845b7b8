"""Where a request goes: a key's replicas in an order of its own, those that are not too busy first."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve._private.common import DeploymentID
from ray.serve._private.request_router.common import ReplicaQueueLengthCache
from ray.serve.request_router import ReplicaID

from service.hosting.ray.routing import InFlightRequests, SessionAffinityRouter, preferred

LOADS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(0, 500), min_size=1, max_size=12)
SLACK, FACTOR = 16.0, 1.25


@given(LOADS, st.text(max_size=8))
def test_every_replica_is_in_the_order_and_the_first_is_not_too_busy(load: dict[str, int], key: str) -> None:
    order = preferred(key, load, SLACK, FACTOR)
    assert sorted(order) == sorted(load)
    assert load[order[0]] <= SLACK + FACTOR * sum(load.values()) / len(load)


@given(st.sets(st.text("abcdefgh", min_size=1, max_size=4), min_size=2, max_size=12), st.text(max_size=8))
def test_a_replica_that_goes_moves_only_its_own_keys(names: set[str], key: str) -> None:
    idle = dict.fromkeys(names, 0)
    order = preferred(key, idle, SLACK, FACTOR)
    for gone in names:
        rest = {name: 0 for name in names if name != gone}
        assert preferred(key, rest, SLACK, FACTOR) == [name for name in order if name != gone]


def test_keys_are_spread_evenly() -> None:
    idle = dict.fromkeys("abcdef", 0)
    firsts = [preferred(f"{key:03x}", idle, SLACK, FACTOR)[0] for key in range(4096)]
    assert all(560 < firsts.count(name) < 800 for name in idle)


@pytest.mark.parametrize("members", [8, 16])
def test_a_group_stays_together_beside_idle_replicas(members: int) -> None:
    load = dict.fromkeys("abc", 0)
    for _ in range(members):
        load[preferred("0af", load, SLACK, FACTOR)[0]] += 1
    assert sorted(load.values()) == [0, 0, members]


def test_one_prompt_alone_cannot_fill_one_replica_while_others_idle() -> None:
    load = dict.fromkeys("abc", 0)
    for _ in range(300):
        load[preferred("0af", load, SLACK, FACTOR)[0]] += 1
    assert max(load.values()) - min(load.values()) <= SLACK + FACTOR * 100


def test_what_is_under_way_is_counted_once_until_it_ends_or_is_forgotten() -> None:
    now = 0.0
    in_flight = InFlightRequests(lambda: now)
    in_flight.start("1", "a")
    in_flight.start("1", "b")
    in_flight.start("2", "b")
    in_flight.move("2", "a")
    in_flight.move("3", "a")
    assert in_flight.count() == {"a": 1, "b": 1}
    in_flight.finish("1")
    assert in_flight.count() == {"a": 1}
    now = 3601.0
    in_flight.start("4", "c")
    assert in_flight.count() == {"c": 1}


def replica(name: str, ready: bool = True) -> Any:
    return SimpleNamespace(replica_id=_id(name), routing_stats={"ready": ready})


def _id(name: str) -> ReplicaID:
    return ReplicaID(name, DeploymentID("Judge", "rubricd"))


class Request:
    """As Ray hands it to a router."""

    def __init__(self, id: str, session: str = "") -> None:
        self.metadata = SimpleNamespace(internal_request_id=id, session_id=session)
        self.routing_context = SimpleNamespace(should_backoff=False)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


@pytest.fixture
def router() -> SessionAffinityRouter:
    made = object.__new__(SessionAffinityRouter)
    made._replica_queue_len_cache = ReplicaQueueLengthCache()
    made.initialize_state()
    return made


async def first(router: SessionAffinityRouter, replicas: list[Any], request: Request) -> str:
    [[one], *_] = await router.choose_replicas(replicas, request)
    return str(one.replica_id.unique_id)


async def test_calls_about_one_prompt_go_to_one_replica_in_a_burst_up_to_a_bound(router: SessionAffinityRouter) -> None:
    """All are routed before any was sent."""
    replicas = [replica(name) for name in "abc"]
    went = [await first(router, replicas, Request(str(n), "0af")) for n in range(60)]
    assert len(set(went[:27])) == 1
    assert went.count(went[0]) < 45
    assert len(set(went)) == 2


async def test_calls_without_a_prompt_go_everywhere(router: SessionAffinityRouter) -> None:
    replicas = [replica(name) for name in "abc"]
    went = [await first(router, replicas, Request(str(n))) for n in range(90)]
    assert all(20 <= went.count(name) <= 40 for name in "abc")


async def test_what_ended_or_left_is_not_counted(router: SessionAffinityRouter) -> None:
    replicas = [replica(name) for name in "abc"]
    for n in range(200):
        request = Request(str(n), "0af")
        went = await first(router, replicas, request)
        if n % 2:
            request.future.cancel()
            await asyncio.sleep(0)
        else:
            router.on_request_completed(_id(went), str(n))
    assert router._in_flight.count() == {}


async def test_what_other_proxies_sent_counts_too(router: SessionAffinityRouter) -> None:
    replicas = [replica(name) for name in "abc"]
    usual = await first(router, replicas, Request("1", "0af"))
    router.replica_queue_len_cache.update(_id(usual), 100)
    assert await first(router, replicas, Request("2", "0af")) != usual


async def test_a_replica_that_is_not_ready_is_asked_where_none_is(router: SessionAffinityRouter) -> None:
    replicas = [replica("a"), replica("b", ready=False), replica("c", ready=False)]
    assert {await first(router, replicas, Request(str(n), str(n))) for n in range(30)} == {"a"}
    nobody = [replica("b", ready=False), replica("c", ready=False)]
    assert {await first(router, nobody, Request(f"n{n}", str(n))) for n in range(30)} == {"b", "c"}


async def test_a_request_that_finds_no_place_waits_before_it_tries_again(router: SessionAffinityRouter) -> None:
    request = Request("1", "0af")
    await router.choose_replicas([replica("a")], request)
    assert request.routing_context.should_backoff

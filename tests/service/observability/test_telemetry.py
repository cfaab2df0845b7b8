"""Declarations, bounds and arithmetic of the metrics, without a service around them."""

import asyncio
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.observability import EngineBatch, GaugeValues, Telemetry, monitor_event_loop
from service.observability.bulk_histogram import BulkHistogram
from service.observability.metrics import OTHER_TEAM, TeamLabels
from testkit.metrics_page import Page


def page(telemetry: Telemetry) -> Page:
    return Page(telemetry.exposition().decode())


def test_names_are_prometheuss() -> None:
    """https://prometheus.io/docs/practices/naming: a prefix, base units, `_total` on counters only."""
    declared = re.findall(r"^# TYPE (\w+) (\w+)", Telemetry().exposition().decode(), re.M)
    ours = {name: kind for name, kind in declared if not name.startswith("process_")}
    assert len(ours) == len([name for name, _ in declared if name.startswith("rubricd_")]) > 30
    for name, kind in ours.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|millis|minutes|kb|percent)(_|$)", name), name
        assert "_seconds" in name or not re.search(r"time|wait|lag|after", name), name


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("rubricd_requests_total", {"route": "/v1/score", "status": "500"}),
        ("rubricd_judgements_total", {"outcome": "engine_error"}),
        ("rubricd_judgements_total", {"outcome": "abstained"}),
        ("rubricd_groups_total", {"spread": "zero"}),
        ("rubricd_teams_reloads_total", {"outcome": "failed"}),
        ("rubricd_canary_failures_total", {"code": "engine_error"}),
        ("rubricd_engine_failed_batches_total", {}),
        ("rubricd_engine_restarts_total", {}),
    ],
)
def test_what_an_alert_waits_for_is_there_at_zero(name: str, labels: dict[str, str]) -> None:
    found = page(Telemetry())
    assert found.has(name, **labels)
    assert found(name, **labels) == 0


def test_two_apps_in_a_process_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    one.count_request("/v1/score", 200, None)
    assert (page(one)("rubricd_requests_total"), page(other)("rubricd_requests_total")) == (1, 0)


@given(st.lists(st.text(min_size=1, max_size=3)), st.integers(0, 5))
def test_teams_are_bounded_and_each_keeps_its_name(names: list[str], most: int) -> None:
    teams = TeamLabels(most)
    given = {name: teams.label(name) for name in names}
    assert len(set(given.values()) - {OTHER_TEAM}) <= most
    assert all(label in (name, OTHER_TEAM) for name, label in given.items())
    assert {name: teams.label(name) for name in names} == given


def test_what_is_not_known_has_no_sample() -> None:
    telemetry = Telemetry()
    telemetry.set_gauge_source(GaugeValues)
    unknown = page(telemetry)
    for name in ("rubricd_queue_limit_tokens", "rubricd_drain_tokens_per_second", "rubricd_redis_up"):
        assert not unknown.has(name)
        assert f"# TYPE {name} gauge" in unknown.text
    assert unknown("rubricd_ready") == 0
    telemetry.set_gauge_source(lambda: GaugeValues(ready=True, redis_up=False, tokens_per_s=2.5))
    known = page(telemetry)
    assert (known("rubricd_ready"), known("rubricd_redis_up")) == (1, 0)
    assert known("rubricd_drain_tokens_per_second") == 2.5


def test_teams_beyond_the_bound_are_added_up() -> None:
    telemetry = Telemetry(max_teams=1)
    queued = {("a", "train"): 1, ("b", "train"): 2, ("c", "train"): 4, ("c", "eval"): 8}
    telemetry.set_gauge_source(lambda: GaugeValues(queued=queued, reserved={"a": 1, "b": 2, "c": 4}))
    found = page(telemetry)
    assert found("rubricd_queued_tokens") == 15
    assert found("rubricd_team_queued_tokens", team="a") == 1
    assert found("rubricd_team_queued_tokens", **{"team": "other", "class": "train"}) == 6
    assert found("rubricd_team_queued_tokens", **{"team": "other", "class": "eval"}) == 8
    assert found("rubricd_quota_reserved_tokens", team="other") == 6


costs = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10_000), min_size=1)


@given(st.lists(st.tuples(costs, st.floats(0, 100)), min_size=1, max_size=5))
def test_all_of_the_engines_time_is_somebodys(batches: list[tuple[dict[str, int], float]]) -> None:
    telemetry = Telemetry()
    for tokens, busy_s in batches:
        telemetry.record_batch(
            EngineBatch(
                "label", queries=1, seconds=busy_s, busy_s=busy_s, planned_tokens=tokens, computed_tokens=tokens
            )
        )
    found = page(telemetry)
    assert found("rubricd_team_judge_seconds_total") == pytest.approx(sum(busy_s for _, busy_s in batches))
    assert found("rubricd_team_tokens_total") == sum(sum(tokens.values()) for tokens, _ in batches)
    assert found("rubricd_prompt_tokens_total", source="computed") == found("rubricd_team_tokens_total")


async def test_a_loop_that_stands_still_is_seen() -> None:
    seen: list[float] = []
    watching = asyncio.create_task(monitor_event_loop(seen.append))
    await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251 -- the loop is to stand still
    while not seen:
        await asyncio.sleep(0)
    watching.cancel()
    assert 0.1 < seen[0] < 60


@given(st.lists(st.floats(0, 100) | st.sampled_from([0.1, 0.5, 2.0, 10.0, 60.0])))
def test_a_bulk_histogram_is_prometheuss_own(values: list[float]) -> None:
    registry = CollectorRegistry()
    bulk = BulkHistogram("bulk", "Same.", ["team"], buckets=(0.1, 0.5, 2, 10, 60), registry=registry)
    own = Histogram("own", "Same.", ["team"], buckets=(0.1, 0.5, 2, 10, 60), registry=registry)
    half = len(values) // 2
    bulk.observe(values[:half], "a")
    bulk.observe(values[half:], "a")
    own.labels("a")
    for value in values:
        own.labels("a").observe(value)
    page = Page(generate_latest(registry).decode())
    found: dict[str, list[tuple[str, tuple[tuple[str, str], ...], float]]] = {"bulk": [], "own": []}
    for sample in page.samples:
        kind, _, part = sample.name.partition("_")
        found[kind].append((part, tuple(sorted(sample.labels.items())), round(sample.value, 6)))
    assert sorted(found["bulk"]) == sorted(found["own"])

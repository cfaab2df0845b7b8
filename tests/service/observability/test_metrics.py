"""Metrics are named as Prometheus asks, and the real app counts known work right."""

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.observability import Telemetry
from testkit.apps import CANARIES, fake_settings, item, scorer_of, serving
from testkit.metrics_page import exposed, page_of
from testkit.teams_file import auth, key, team, write


def group(*responses: str, **changes: Any) -> dict[str, Any]:
    one = item(**changes)
    del one["response"]
    return one | {"responses": list(responses)}


async def score(client: httpx.AsyncClient, *items: dict[str, Any], name: str | None = None, **options: Any) -> Any:
    headers = {} if name is None else auth(name)
    return await client.post("/v1/score", json={"items": list(items), **options}, headers=headers)


def test_names_follow_prometheuss_conventions() -> None:
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
def test_series_that_an_alert_needs_begin_at_zero(name: str, labels: dict[str, str]) -> None:
    telemetry = Telemetry()
    for judge in ("", "small"):
        telemetry.of_judge(judge).set_judge_info("m", "local", "0f")
    found = exposed(telemetry)
    assert found.has(name, **labels)
    assert found(name, **labels) == 0
    if name.startswith("rubricd_canary"):
        assert found.has(name, **labels, judge="small"), "each judge's first failure is a step"


def test_a_gauge_has_no_sample_before_something_was_measured() -> None:
    """Of all gauges those alone have one that are true of a service without a judge: it is not ready, holds no
    connection and nothing waits."""
    telemetry = Telemetry()
    gauges = set(re.findall(r"^# TYPE (rubricd_\w+) gauge", telemetry.exposition().decode(), re.M))
    telemetry.of_judge("small").set_judge_info("m", "local", "0f")
    found = {sample.name for sample in exposed(telemetry).samples} & gauges
    true = {"ready", "open_connections", "queued_tokens", "in_flight_tokens", "cache_entries", "judge_info"}
    assert found == {f"rubricd_{name}" for name in true} and len(gauges) > 20


async def test_only_routes_that_judge_are_timed() -> None:
    async with serving() as client:
        await score(client, item())
        for path in ("/rm", "/v1/rubrics/lint", "/nothing"):
            await client.post(path, json={})
        await client.get("/healthz")
        page = await page_of(client)
    timed = {sample.labels["route"] for sample in page.samples if sample.name == "rubricd_request_seconds_count"}
    counted = {sample.labels["route"] for sample in page.samples if sample.name == "rubricd_requests_total"}
    assert timed == {"/v1/score", "/rm"}
    assert counted == {"/v1/score", "/rm", "/v1/rubrics/lint", "/healthz", "other"}


async def test_judgements_items_groups_and_probabilities() -> None:
    async with serving() as client:
        answer = (await score(client, group("One.", "Two.", "Three.", id="g"), item(id="alone"))).json()
        page = await page_of(client)
    verdicts = [[one["met"] for one in result["criteria"]] for result in answer["results"]]
    met = sum(map(sum, verdicts))
    assert page("rubricd_judgements_total", source="judge", mode="verdict", outcome="met") == met
    assert page("rubricd_judgements_total", source="judge", mode="verdict", outcome="unmet") == 8 - met
    assert page("rubricd_items_total", team="default", status="ok") == 4
    spread = "zero" if answer["groups"][0]["zero_variance"] else "varied"
    assert page("rubricd_groups_total") == page("rubricd_groups_total", spread=spread) == 1
    columns = [{verdict[j] for verdict in verdicts[:3]} for j in range(2)]
    assert page("rubricd_group_criteria_total", spread="mixed") == sum(len(column) == 2 for column in columns)
    assert page("rubricd_group_criteria_total") == 2
    assert page("rubricd_p_met_count") == page("rubricd_label_mass_count") == 8
    assert page("rubricd_p_met_sum") == pytest.approx(
        sum(one["p"] for result in answer["results"] for one in result["criteria"])
    )


async def test_a_known_or_running_query_is_a_hit_or_a_join_and_not_judged_again() -> None:
    clock = ManualClock()
    async with serving(FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep), clock=clock, canary_s=1.0) as client:
        both = [asyncio.ensure_future(score(client, item())) for _ in range(2)]
        while not all(one.done() for one in both):
            await clock.advance(0.1)
            await asyncio.sleep(0.001)
        assert (await score(client, item())).status_code == 200
        page = await page_of(client)
    assert page("rubricd_cache_misses_total") == 2
    assert page("rubricd_single_flight_joins_total", tier="process") == 2
    assert page("rubricd_cache_hits_total", tier="memory") == 2
    assert page("rubricd_cache_entries") == 2
    assert page("rubricd_p_met_count") == 4, "two verdicts of the judge, for each of two requests"
    assert page("rubricd_team_judge_seconds_total", team="default") == pytest.approx(1.0)


async def test_failures_and_abstentions_are_outcomes() -> None:
    plan = FaultPlan(script=("ok", "low_mass", "batch"))
    async with serving(FakeEngine(plan=plan)) as client:
        await score(client, item(response="One."))
        await score(client, item(response="Two."))
        page = await page_of(client)
    abstained = page("rubricd_judgements_total", outcome="abstained")
    assert 1 <= abstained <= 2
    assert page("rubricd_judgements_total", outcome="engine_error") == 2
    assert page("rubricd_label_mass_bucket", le="0.1") == abstained
    assert page("rubricd_label_mass_count") == 2
    assert page("rubricd_engine_failed_batches_total") == 1
    assert page("rubricd_items_total", status="failed") == 1 + (abstained == 2)
    assert page("rubricd_items_total", status="partial") == (abstained == 1)


async def test_queue_readiness_and_restarts(tmp_path: Path) -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=4.0), sleep=clock.sleep)
    settings = fake_settings(max_in_flight=1, max_batch_tokens=300, canary_every_s=0)
    async with serving(engine, clock=clock, settings=settings, canary_s=4.0) as client:
        asked = [asyncio.ensure_future(score(client, item(response=f"{n}."), priority="eval")) for n in range(3)]
        scheduler = scorer_of(client)._scheduler
        while scheduler.queued_tickets + scheduler.in_flight_tickets < 6:
            await asyncio.sleep(0.001)
        await settle()
        waiting = await page_of(client)
        engine.down, engine.restarts = "the judge died", 3
        down = await page_of(client)
        engine.down = None
        while not all(one.done() for one in asked):
            await clock.advance(4.0)
            await asyncio.sleep(0.001)
        after = await page_of(client)
    assert waiting("rubricd_team_queued_tokens", **{"team": "default", "class": "eval"}) > 0
    assert waiting("rubricd_queued_tokens") == waiting("rubricd_team_queued_tokens")
    assert waiting("rubricd_in_flight_tokens") > 0
    assert (waiting("rubricd_ready"), down("rubricd_ready"), after("rubricd_ready")) == (1, 0, 1)
    assert (waiting("rubricd_engine_restarts_total"), after("rubricd_engine_restarts_total")) == (0, 3)
    assert after("rubricd_queued_tokens") == after("rubricd_in_flight_tokens") == 0
    waits = {"team": "default", "class": "eval"}
    assert after("rubricd_queue_wait_seconds_count", **waits) == 6
    assert 1 <= after("rubricd_queue_wait_seconds_bucket", le="0.1", **waits) < 6
    assert after("rubricd_queue_wait_seconds_sum", **waits) >= 4.0
    assert after("rubricd_batch_queries_sum", query_type="label") == 6 + CANARIES


async def test_quotas_and_refusals(tmp_path: Path) -> None:
    clock = ManualClock()
    limited = team("poor", quota={"tokens_per_minute": 700, "requests_per_minute": 5})
    settings = fake_settings(teams=write(tmp_path / "teams.json", limited, team("rich")), canary_every_s=0)
    async with serving(clock=clock, settings=settings) as client:
        answers = [await score(client, item(response=f"Response {n}."), name="poor") for n in range(8)]
        stranger = await client.post("/v1/score", json={}, headers={"Authorization": f"Bearer {key('nobody')}"})
        await score(client, item(response="Rich."), name="rich")
        page = await page_of(client)
    assert stranger.status_code == 401
    refused = [answer for answer in answers if answer.status_code == 429]
    used = sum(answer.json()["usage"]["prompt_tokens"] for answer in answers if answer.status_code == 200)
    assert page("rubricd_refusals_total", team="poor", code="quota_exceeded") == len(refused) > 0
    assert page("rubricd_refusals_total", team="other", code="unauthorized") == 1
    assert page("rubricd_retry_after_seconds_count", code="quota_exceeded") == len(refused)
    assert page("rubricd_quota_limit", team="poor", quota="tokens_per_minute") == 700
    assert page("rubricd_quota_requests_total", team="poor") == 5
    assert 0 < page("rubricd_quota_tokens_total", team="poor") <= min(used, 700)
    assert page("rubricd_quota_reserved_tokens") == 0
    for name in ("rubricd_quota_limit", "rubricd_quota_tokens_total", "rubricd_quota_requests_total"):
        assert not page.has(name, team="rich"), name


async def test_reserved_tokens_are_shown_while_they_are_reserved(tmp_path: Path) -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    one = team("a", quota={"concurrent_tokens": 100_000})
    settings = fake_settings(teams=write(tmp_path / "teams.json", one), canary_every_s=0)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        asked = asyncio.ensure_future(score(client, item(), name="a"))
        while not (page := await page_of(client))("rubricd_quota_reserved_tokens", team="a"):
            await asyncio.sleep(0.001)
        held = page("rubricd_quota_reserved_tokens", team="a")
        while not asked.done():
            await clock.advance(0.5)
            await asyncio.sleep(0.001)
        page = await page_of(client)
    assert held > 0
    assert page("rubricd_quota_reserved_tokens", team="a") == 0
    assert 0 < page("rubricd_quota_tokens_total", team="a") <= held


async def test_counters_reconcile_over_1000_requests_under_faults(tmp_path: Path) -> None:
    """Every criterion and every token is counted once, by its outcome."""
    rates: dict[Any, float] = {"batch": 0.05, "some": 0.1, "nan": 0.05, "low_mass": 0.1, "few": 0.03, "crash": 0.02}
    engine, rng = FakeEngine(plan=FaultPlan(script=("ok",), rates=rates)), random.Random(6)
    teams = [team(name) for name in ("a", "b", "c")]
    settings = fake_settings(teams=write(tmp_path / "teams.json", *teams), canary_every_s=0)
    criteria = responses = groups = 0
    async with serving(engine, settings=settings) as client:
        for _ in range(100):
            asked = []
            for _ in range(10):
                answers = [f"Response {rng.randrange(40)}." for _ in range(rng.randint(1, 4))]
                groups += len(answers) > 1
                responses += len(answers)
                criteria += 2 * len(answers)
                asked.append(score(client, group(*answers), name=rng.choice("abc")))
            for answer in await asyncio.gather(*asked):
                assert answer.status_code == 200
        page = await page_of(client)
    assert page("rubricd_judgements_total") == criteria
    assert page("rubricd_items_total") == responses
    assert page("rubricd_groups_total") == groups
    known = page("rubricd_cache_hits_total") + page("rubricd_single_flight_joins_total")
    assert known + page("rubricd_cache_misses_total") == criteria
    assert page("rubricd_cache_misses_total") + CANARIES == engine.prompts == page("rubricd_batch_queries_sum")
    assert page("rubricd_team_tokens_total") == page("rubricd_prompt_tokens_total") <= engine.tokens
    assert page("rubricd_team_judge_seconds_total") <= page("rubricd_batch_seconds_sum") * (1 + 1e-9)
    assert page("rubricd_requests_total", route="/v1/score", status="200") == 100 * 10


async def test_generated_tokens_and_canaries_are_counted_apart() -> None:
    async with serving() as client:
        canaries = (await page_of(client))("rubricd_team_tokens_total", team="_service")
        usage = (await score(client, item(), mode="reasoned")).json()["usage"]
        page = await page_of(client)
    assert canaries == page("rubricd_team_tokens_total", team="_service") > 0
    assert page("rubricd_generated_tokens_total") == usage["completion_tokens"] > 0
    assert page("rubricd_prompt_tokens_total", source="computed") == canaries + usage["prompt_tokens"]
    assert page("rubricd_team_tokens_total") == page("rubricd_prompt_tokens_total") + usage["completion_tokens"]
    assert page("rubricd_batch_queries_sum", query_type="generation") == usage["judgements"] == 2


@pytest.mark.parametrize("mode", ["implicit", "likert"])
async def test_a_rating_is_neither_met_nor_unmet(mode: str) -> None:
    async with serving() as client:
        answer = await score(client, item(), mode=mode)
        page = await page_of(client)
    assert answer.json()["results"][0]["rating"] is not None
    assert page("rubricd_judgements_total", mode=mode) == page("rubricd_judgements_total", outcome="rated") == 1

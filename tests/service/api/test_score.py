"""POST /v1/score end to end in this process: real app, real queue and cache, the fake engine."""

import asyncio
import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from service.app import lifecycle_of
from service.clock import ManualClock, settle
from service.engine.base import LabelLogprobs, Outcome, Prompt
from service.engine.fake import FakeEngine, Fault, FaultPlan
from service.prompting.tokenization import Segmenter
from testkit.apps import CANARIES, app_of, client_of, fake_settings, item, scorer_of, serving
from testkit.tokenizer_families import family
from trainer_client import wire

OK: Fault = "ok"
ONE_BY_ONE: tuple[Fault, ...] = (OK,) * CANARIES


async def score(client: httpx.AsyncClient, *items: dict[str, Any], **options: Any) -> wire.ScoreResponse:
    answer = await client.post("/v1/score", json={"items": items, **options})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == answer.json()["id"]
    return wire.ScoreResponse.model_validate_json(answer.content)


async def test_an_answer_has_everything_the_contract_names() -> None:
    async with serving() as client:
        answer = await score(client, item(), item(id="mine"))
    assert [result.id for result in answer.results] == ["0", "mine"]
    result = answer.results[0]
    assert (result.status, result.coverage) == ("ok", 1.0)
    assert [c.id for c in result.criteria] == ["0", "1"]
    assert [c.points for c in result.criteria] == [5.0, -3.0]
    met = [c.points * bool(c.met) for c in result.criteria]
    assert result.score == sum(met) / 5
    assert result.score_bounds == (result.score, result.score)
    assert (answer.judge.mode, answer.judge.layout, answer.judge.engine) == ("verdict", "rubricd", "fake")
    assert len(answer.judge.fingerprint) == 16
    assert answer.usage.judgements == 2
    assert answer.usage.deduplicated == 2
    assert answer.groups is None


@pytest.mark.parametrize("path", ["/v1/score", "/score", "/v1/rubric/score"])
async def test_the_route_has_three_names(path: str) -> None:
    async with serving() as client:
        assert (await client.post(path, json={"items": [item()]})).status_code == 200


async def test_a_group_in_one_item_is_spread_out_and_summed_up() -> None:
    grouped = item(id="g", responses=[f"Response {n}." for n in range(8)])
    del grouped["response"]
    async with serving() as client:
        answer = await score(client, grouped, soft=True)
    assert [result.id for result in answer.results] == [f"g/{n}" for n in range(8)]
    assert answer.groups is not None
    [group] = answer.groups
    scores = [result.score for result in answer.results if result.score is not None]
    assert (group.id, group.n, group.valid, group.zero_variance) == ("g", 8, 8, False)
    assert group.mean is not None
    assert group.std is not None
    assert math.isclose(group.mean, statistics.fmean(scores))
    assert math.isclose(group.std, statistics.pstdev(scores))


async def test_soft_and_threshold_change_the_score_and_not_the_verdicts() -> None:
    async with serving() as client:
        hard = await score(client, item())
        soft = await score(client, item(), soft=True)
        strict = await score(client, item(), threshold=1.0)
    p = [c.p for c in hard.results[0].criteria]
    assert [c.p for c in soft.results[0].criteria] == p
    assert soft.results[0].score == pytest.approx((5 * (p[0] or 0) - 3 * (p[1] or 0)) / 5)
    assert [c.met for c in strict.results[0].criteria] == [False, False]
    assert soft.usage.cache_hits == 2


async def test_min_coverage_decides_whether_a_part_makes_a_score() -> None:
    rubric = [
        {"text": "Judged.", "points": 5},
        {"text": "?", "points": 5, "verifier": {"rule": "regex", "pattern": "("}},
    ]
    async with serving() as client:
        whole = await score(client, item(rubric=rubric))
        half = [
            await score(client, item(rubric=rubric), min_coverage=0.5, unjudged=u) for u in (None, "lower", "middle")
        ]
    assert (whole.results[0].status, whole.results[0].score, whole.results[0].coverage) == ("partial", None, 0.5)
    assert whole.results[0].criteria[1].status == "verifier_error"
    low, high = whole.results[0].score_bounds or (0, 0)
    assert high - low == 0.5
    assert [one.results[0].score for one in half] == [None, low, (low + high) / 2]
    assert {one.results[0].status for one in half} == {"partial"}


async def test_expect_judge_is_checked_before_any_work() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        name = (await client.get("/v1/judge")).json()["fingerprint"]
        asked = engine.prompts
        assert (await client.post("/v1/score", json={"items": [item()], "expect_judge": "x"})).status_code == 409
        assert engine.prompts == asked
        assert (await score(client, item(), expect_judge=name)).judge.fingerprint == name


async def test_a_deadline_is_an_answer_with_reasons_not_an_error() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=("ok", "hang")), sleep=clock.sleep)
    async with serving(engine, clock=clock) as client:
        request = asyncio.create_task(score(client, item(), deadline_ms=500))
        while engine.calls < 2:
            await asyncio.sleep(0.001)
        await clock.advance(1.0)
        answer = await request
    result = answer.results[0]
    assert (result.status, result.score, result.score_bounds) == ("failed", None, (-0.6, 1.0))
    assert {c.status for c in result.criteria} == {"timeout"}
    assert all(c.detail for c in result.criteria)


async def test_a_full_queue_is_503_with_retry_after() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=ONE_BY_ONE, rates={"hang": 1.0}), sleep=clock.sleep)
    settings = fake_settings(max_queued_tokens=100, max_batch_tokens=1, max_in_flight=1)
    async with serving(engine, clock=clock, settings=settings) as client:
        stuck = asyncio.create_task(client.post("/v1/score", json={"items": [item()]}))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        refused = await client.post("/v1/score", json={"items": [item(response="Another.")]})
        stuck.cancel()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["type"] == "urn:rubricd:problem:overloaded"


async def test_what_is_known_and_what_rules_decide_is_answered_while_the_queue_is_full() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * (CANARIES + 2), rates={"hang": 1.0}), sleep=clock.sleep)
    settings = fake_settings(max_queued_tokens=100, max_batch_tokens=1, max_in_flight=1)
    ruled = item(response="New.", rubric=[{"text": "x", "points": 1, "verifier": {"rule": "exact", "gold": "New."}}])
    async with serving(engine, clock=clock, settings=settings) as client:
        known = await score(client, item())
        stuck = asyncio.create_task(client.post("/v1/score", json={"items": [item(response="Stuck.")]}))
        while engine.calls <= CANARIES + 2:
            await asyncio.sleep(0.001)
        refused = await client.post("/v1/score", json={"items": [item(response="Another.")]})
        again, by_rule = await score(client, item()), await score(client, ruled)
        stuck.cancel()
    assert refused.status_code == 503
    assert again.results[0].score == known.results[0].score
    assert by_rule.results[0].score == 1.0


async def test_a_caller_that_leaves_frees_its_place_1000_of_1000() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=ONE_BY_ONE, rates={"hang": 1.0}), sleep=clock.sleep)
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1)
    async with serving(engine, clock=clock, settings=settings) as client:
        scheduler = scorer_of(client)._scheduler
        for n in range(1000):
            request = asyncio.create_task(client.post("/v1/score", json={"items": [item(response=f"Response {n}.")]}))
            while not scheduler.queued_tokens:
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            assert scheduler.queued_tokens == 0
        assert scorer_of(client).evaluator.flights == 0


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_what_a_caller_used_before_it_left_is_its_teams(accept: str) -> None:
    engine = FakeEngine(plan=FaultPlan(script=(*ONE_BY_ONE, "ok", "ok", "ok", "hang")))
    async with serving(engine, settings=fake_settings(max_batch_tokens=1, max_in_flight=1)) as client:
        asked = {"items": [item(response="Rest it."), item(response="Run on.")]}
        request = asyncio.create_task(client.post("/v1/score", json=asked, headers={"accept": accept}))
        while engine.calls < len(ONE_BY_ONE) + 4:
            await asyncio.sleep(0.001)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await settle()
        used = (await client.get("/v1/usage")).json()
        assert (used["responses"], used["judgements"]) == (1, 4)
        assert 0 < used["tokens"] < engine.tokens


async def test_readiness_tells_the_truth_while_loading_and_when_it_failed() -> None:
    from service.app import create_app
    from service.engine.build import LoadedJudge
    from service.errors import ConfigurationError
    from service.lifecycle import Lifecycle
    from service.settings import Settings

    go = asyncio.Event()
    heard: list[BaseException] = []

    async def build(settings: Settings) -> LoadedJudge:
        await go.wait()
        raise ConfigurationError("no such model")

    app = create_app(fake_settings(), build=build, lifecycle=Lifecycle(on_failed=heard.append))
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get("/healthz")).status_code == 200
        loading = await client.get("/readyz")
        assert (loading.status_code, loading.json()["detail"]) == (503, "the judge is loading")
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 503
        go.set()
        while not heard:
            await asyncio.sleep(0)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
    assert str(heard[0]) == "no such model"


async def test_a_judge_that_cannot_answer_with_its_labels_does_not_serve() -> None:
    asked: set[str] = set()

    class Wordy(FakeEngine):
        async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
            asked.update(Segmenter(family("qwen")).decode(prompt.shared[:700]) for prompt in prompts)
            return [LabelLogprobs((-14.0, -15.0)) for _ in prompts]

    async with serving(Wordy()) as client:
        assert (await client.get("/readyz")).status_code == 503
    assert any("How far is the moon?" in text for text in asked), "the prompts with examples were tried too"


async def test_ready_after_a_canary() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert engine.prompts == CANARIES


async def test_rubric_in_row_shapes_of_the_papers() -> None:
    ruscarl = {"criterion": "Rests.", "points": 4, "tags": ["axis:accuracy", "level:example"]}
    rar = {"title": "Rest", "description": "Pitfal Criteria: Recommends running.", "weight": -1}
    async with serving() as client:
        answer = await score(client, item(rubric={"criteria": [ruscarl, rar]}), pitfalls="met_is_bad")
        mixed = await client.post(
            "/v1/score",
            json={"items": [item(rubric=[ruscarl, rar])], "aggregation": "rar_explicit", "pitfalls": "met_is_bad"},
        )
    assert [c.points for c in answer.results[0].criteria] == [4.0, -1.0]
    assert mixed.status_code == 422


async def test_lint_finds_without_judging() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        asked = engine.prompts
        answer = await client.post("/v1/rubrics/lint", json={"rubric": [{"text": "Runs.", "points": -1}]})
    assert answer.status_code == 200
    assert wire.LintResponse.model_validate_json(answer.content).findings
    assert engine.prompts == asked


async def test_metrics_count_without_text() -> None:
    async with serving() as client:
        await score(client, item())
        await client.get("/no-such-route")
        page = (await client.get("/metrics")).text
    judged = [line for line in page.splitlines() if line.startswith("rubricd_judgements_total{")]
    assert sum(float(line.split()[-1]) for line in judged) == 2.0
    assert 'rubricd_requests_total{route="/v1/score",status="200"} 1.0' in page
    assert 'rubricd_requests_total{route="other",status="404"} 1.0' in page
    assert "knee" not in page


async def test_only_a_process_that_cannot_recover_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        engine.down = "the judge is restarted"
        assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 503]
        engine.down = None
        scheduler = scorer_of(client)._scheduler
        monkeypatch.setattr(scheduler, "take", lambda: 1 / 0)  # a bug
        asked = await client.post("/v1/score", json={"items": [item()]})
        assert asked.json()["results"][0]["criteria"][0]["status"] == "engine_error"
        alive = await client.get("/healthz")
        assert (alive.status_code, (await client.get("/readyz")).status_code) == (503, 503)
        assert "restart" in alive.json()["detail"]


async def test_the_playground_is_served() -> None:
    async with serving() as client:
        page = await client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<textarea" in page.text


async def test_an_answer_is_strict_json() -> None:
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [item()]})
    json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


async def test_a_drain_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1, drain_s=2.5)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        rubric = [{"text": f"Criterion {n}.", "points": 1} for n in range(4)]
        accepted = asyncio.create_task(score(client, item(rubric=rubric)))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        lifecycle_of(app_of(client)).drain()
        await asyncio.sleep(0.01)
        assert (await client.get("/readyz")).json()["detail"] == "the service is shutting down"
        assert (await client.post("/v1/score", json={"items": [item(response="new")]})).status_code == 503
        await clock.advance(5.0)
        answer = await accepted
    assert [c.status for c in answer.results[0].criteria] == ["ok", "ok", "cancelled", "cancelled"]
    assert answer.results[0].score is None


async def test_judgements_of_one_request_are_limited_and_the_limit_can_be_asked_for() -> None:
    rubric = [{"text": f"Criterion {n}.", "points": 1} for n in range(20)]
    asked = item(rubric=rubric, response=None, responses=[f"Answer {n}." for n in range(512)])
    async with serving() as client:
        assert (await client.get("/v1/judge")).json()["limits"]["max_judgements"] == 32_768
        answer = await client.post("/v1/score", json={"items": [asked]})
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 512
        # The same bytes as the contract's model writes.
        assert answer.content == wire.ScoreResponse.model_validate_json(answer.content).model_dump_json().encode()
    async with serving(settings=fake_settings(max_judgements=512 * 20 - 1)) as client:
        refused = await client.post("/v1/score", json={"items": [asked]})
        assert refused.status_code == 422
        [error] = refused.json()["errors"]
        assert error["loc"] == ["items"]
        assert error["msg"] == "10240 judgements in one request; at most 10239: send fewer items a request"
        voted = {"items": [item(rubric=rubric[:2], response=None, responses=["Answer."] * 512)], "mode": "reasoned"}
        refused = await client.post("/v1/score", json={**voted, "votes": 16})
        assert refused.json()["errors"][0]["msg"].startswith("16384 judgements")


async def test_an_answer_says_where_its_time_went() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=0.25), sleep=clock.sleep)
    async with serving(engine, clock=clock, canary_s=0.25) as client:
        first = asyncio.create_task(client.post("/v1/score", json={"items": [item()]}))
        while not first.done():
            await clock.advance(0.25)
        again = await client.post("/v1/score", json={"items": [item()]})
    timing = dict(part.split(";dur=") for part in first.result().headers["server-timing"].split(", "))
    assert timing.keys() == {"queue", "render", "engine"}
    assert float(timing["engine"]) == 250.0
    assert again.headers["server-timing"] == "queue;dur=0.0, render;dur=0.0, engine;dur=0.0", "nothing was judged"

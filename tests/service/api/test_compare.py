"""POST /v1/compare end to end in this process: real app, real queue and cache, the fake engine."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from service.engine.fake import FakeEngine, Fault, FaultPlan
from testkit.apps import CANARIES, fake_settings, scorer_of, serving
from testkit.exam_judge import ExamJudge
from testkit.metrics_page import page_of
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S
from trainer_client import wire

OK: Fault = "ok"
RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]
Json = dict[str, Any]


def pair(a: str = "Rest it.", b: str = "Run.", **changes: Any) -> Json:
    return {"prompt": "My knee hurts.", "a": a, "b": b, **changes}


async def post(client: httpx.AsyncClient, *items: Json, **options: Any) -> httpx.Response:
    headers = options.pop("headers", {})
    return await client.post("/v1/compare", json={"items": list(items), **options}, headers=headers)


async def compare(client: httpx.AsyncClient, *items: Json, **options: Any) -> wire.CompareResponse:
    answer = await post(client, *items, **options)
    assert answer.status_code == 200, answer.text
    return wire.CompareResponse.model_validate_json(answer.content)


async def test_an_answer_has_everything_the_contract_names() -> None:
    async with serving() as client:
        answer = await compare(client, pair(), pair(id="mine", rubric=RUBRIC, reference="Rest.", metadata={"n": 1}))
        info = (await client.get("/v1/judge")).json()
    assert [one.id for one in answer.results] == ["0", "mine"]
    one, mine = answer.results
    assert (one.status, [order.first for order in one.orders]) == ("ok", ["a", "b"])
    assert one.p == one.p_raw is not None
    assert one.p != mine.p, "the rubric and the reference are part of the question"
    given = [order.p for order in one.orders]
    assert one.order_effect == pytest.approx((given[0] or 0) - (given[1] or 0))
    assert one.label_mass == min(order.label_mass or 0 for order in one.orders)
    assert mine.metadata == {"n": 1}
    assert (answer.judge.mode, answer.judge.fingerprint) == ("compare", info["compare"]["judge"]["fingerprint"])
    assert answer.judge.fingerprint != info["fingerprint"], "another mode is another judge"
    assert answer.usage.judgements == 4


async def test_a_client_from_before_is_told_of_no_mode_that_it_does_not_know() -> None:
    async with serving() as client:
        info = (await client.get("/v1/judge")).json()
        refused = await client.post("/v1/score", json={"items": [{**pair(), "rubric": RUBRIC}], "mode": "compare"})
    told = {*info["modes"], *(one["mode"] for one in [*info["judges"], *info["unserved"], *info["exams"]])}
    assert "compare" not in told
    assert refused.status_code == 422


async def test_300_random_pairs_swapped_are_the_same_preference_0_wrong() -> None:
    random = Random(1)
    words = ["rest", "run", "ice", "see a doctor", "", "\u2028", "Response B:\n", "A", "Answer: A"]

    def text() -> str:
        return " ".join(random.choices(words, k=random.randint(0, 6)))

    more: list[Json] = [{}, {"rubric": RUBRIC}, {"reference": "Rest."}]
    pairs = [pair(text(), text(), **random.choice(more)) for _ in range(300)]
    swapped = [{**one, "a": one["b"], "b": one["a"]} for one in pairs]
    async with serving() as client:
        there, back = await compare(client, *pairs), await compare(client, *swapped)
    wrong = [
        (one, other)
        for one, other in zip(there.results, back.results, strict=True)
        if (one.p or 0) + (other.p or 0) != 1.0 or one.label_mass != other.label_mass
    ]
    assert wrong == []
    assert back.usage.judgements == 0, "the swapped pair is the same two questions"


async def test_a_pair_has_the_same_outcome_in_any_batch_and_order() -> None:
    pairs = [pair(f"Rest {n} days.", "Run.", id=str(n)) for n in range(40)]
    Random(2).shuffle(pairs)
    async with serving() as client:
        together = {one.id: one for one in (await compare(client, *pairs, cache="bypass")).results}
        alone = [(await compare(client, one, cache="bypass")).results[0] for one in pairs]
    assert [together[one.id] for one in alone] == alone


async def test_equal_responses_are_one_half_and_cost_one_judgement() -> None:
    async with serving() as client:
        answer = await compare(client, pair("Rest.", "Rest."))
    assert (answer.results[0].p, answer.usage.judgements, answer.usage.deduplicated) == (0.5, 1, 1)
    assert [one.code for one in answer.results[0].warnings] == ["orders_disagree", "toy_judge"]


async def test_empty_responses_are_compared_as_any_other() -> None:
    """P(a) + P(b) is 1 where one of them is empty, and one half where both are."""
    async with serving() as client:
        pairs = [("", "Rest."), ("Rest.", ""), ("", ""), (" \n", " \n"), ("", " ")]
        items = [{"prompt": "My knee hurts.", "a": a, "b": b} for a, b in pairs]
        answer = await client.post("/v1/compare", json={"items": items})
        assert answer.status_code == 200, answer.text
        first, turned, both, blank, _ = (one["p"] for one in answer.json()["results"])
    assert (first + turned, both, blank) == (1.0, 0.5, 0.5)


async def test_below_the_floor_it_abstains_and_says_no_half() -> None:
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, rates={"low_mass": 1.0}))
    async with serving(engine, settings=fake_settings(max_batch_tokens=1)) as client:
        answer = await compare(client, *(pair(f"Rest {n}.") for n in range(20)))
        again = await compare(client, pair("Rest 1."))
        page = await page_of(client)
    abstained = [one for one in answer.results if one.status == "abstained"]
    assert len(abstained) > 10
    for one in abstained:
        assert one.p is None
        assert one.p_raw is not None
        assert one.label_mass is not None and one.label_mass < 0.5
        assert one.detail is not None and "below the floor" in one.detail
    assert again.usage.judgements > 0, "an abstention is kept in no cache"
    assert page("rubricd_judgements_total", source="judge", mode="compare", outcome="abstained") >= 20


@pytest.mark.parametrize("fault", ["some", "nan", "batch"])
async def test_a_pair_whose_order_fails_has_no_p_and_says_why(fault: Fault) -> None:
    plan = FaultPlan(script=(OK,) * CANARIES, rates={fault: 0.5})
    async with serving(FakeEngine(plan=plan), settings=fake_settings(max_batch_tokens=1)) as client:
        answer = await compare(client, *(pair(f"Rest {n}.") for n in range(40)))
    failed = [one for one in answer.results if one.status != "ok"]
    assert 5 < len(failed) < 40
    for one in failed:
        assert (one.p, one.p_raw, one.order_effect) == (None, None, None)
        assert one.status in ("engine_error", "unparseable")
        assert any(order.p is None for order in one.orders)


async def test_after_the_deadline_what_is_open_is_a_timeout() -> None:
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, rates={"hang": 1.0}))
    async with serving(engine, settings=fake_settings(max_batch_tokens=1)) as client:
        answer = await compare(client, pair(), deadline_ms=50)
    assert (answer.results[0].status, answer.results[0].p) == ("timeout", None)


async def test_what_is_too_long_fails_its_own_pair() -> None:
    async with serving(FakeEngine(max_model_len=600)) as client:
        answer = await compare(client, pair("word " * 5000), pair())
    assert [one.status for one in answer.results] == ["too_long", "ok"]


async def test_a_caller_that_leaves_frees_its_places() -> None:
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, rates={"hang": 1.0}))
    async with serving(engine, settings=fake_settings(max_batch_tokens=1)) as client:
        calls = [asyncio.create_task(post(client, pair(f"{n}"))) for n in range(20)]
        while scorer_of(client).evaluator.flights < 40:
            await asyncio.sleep(0.001)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(HUNG_S):
            while scorer_of(client).evaluator.flights:
                await asyncio.sleep(0.001)


async def test_an_idempotency_key_gets_the_same_bytes_and_never_a_scores() -> None:
    async with serving() as client:
        first = await post(client, pair(), headers={"Idempotency-Key": "k"})
        second = await post(client, pair(), headers={"Idempotency-Key": "k"})
        other = await post(client, pair("Sit."), headers={"Idempotency-Key": "k"})
        score = await client.post("/v1/score", json={"items": [pair()]}, headers={"Idempotency-Key": "k"})
    assert (first.content, second.headers["idempotency-replayed"]) == (second.content, "true")
    assert (other.status_code, score.status_code) == (422, 422)


async def test_teams_have_their_classes_quotas_and_caches(tmp_path: Path) -> None:
    teams = write(tmp_path / "teams.json", team("a", classes=["train"], quota={"tokens_per_minute": 900}), team("b"))
    async with serving(settings=fake_settings(teams=teams)) as client:
        assert (await post(client, pair())).status_code == 401
        assert (await post(client, pair(), headers=auth("a"), priority="eval")).status_code == 403
        mine = await compare(client, pair(), headers=auth("a"))
        other = await compare(client, pair(), headers=auth("b"))
        over = await post(client, pair("Sit."), headers=auth("a"))
        used = (await client.get("/v1/usage", headers=auth("b"))).json()
    assert (mine.usage.judgements, other.usage.judgements) == (2, 2), "no team reads another one's verdicts"
    assert (over.status_code, "retry-after" in over.headers) == (429, True)
    assert (used["responses"], used["judgements"]) == (2, 2)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"items": [pair(), pair(id="0")]}, "have one id"),
        ({"items": []}, "items"),
        ({"items": [{**pair(), "winner": "a"}]}, "unknown field"),
        ({"items": [{"prompt": "p", "response": "r"}]}, "POST /v1/score"),
        ({"items": [pair()], "expect_judge": 7}, "expect_judge"),
        ({"items": [pair(rubric=[{"title": "t", "description": "Pitfall Criteria: x", "weight": -1}])]}, "pitfall"),
    ],
)
async def test_what_is_wrong_is_a_problem_document_that_says_so(body: Json, told: str) -> None:
    async with serving() as client:
        answer = await client.post("/v1/compare", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert told in answer.text


async def test_a_pair_on_the_score_route_is_told_where_to_go() -> None:
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [pair()]})
    assert (answer.status_code, "`POST /v1/compare`" in answer.json()["detail"]) == (422, True)


async def test_another_judge_is_409_and_too_many_pairs_are_refused() -> None:
    async with serving(settings=fake_settings(max_judgements=4)) as client:
        other = await post(client, pair(), expect_judge="0" * 16)
        many = await post(client, pair("1"), pair("2"), pair("3"))
    assert (other.status_code, other.json()["type"]) == (409, "urn:rubricd:problem:judge_mismatch")
    assert (many.status_code, "6 judgements" in many.text) == (422, True)


async def test_a_judge_that_can_compare_is_proven_by_pairs() -> None:
    async with serving(ExamJudge(), settings=fake_settings(exam=True)) as client:
        before = (await client.get("/v1/judge")).json()["compare"]
        answer = await compare(client, pair())
        after = (await client.get("/v1/judge")).json()["compare"]
    assert (before["judge"]["trust"], before["exam"]) == ("unproven", None)
    assert answer.judge.trust == after["judge"]["trust"] == "proven"
    exam = after["exam"]
    assert (exam["pairs"], exam["accuracy"]["value"], exam["met_when_empty"]) == (40, 1.0, None)


async def test_a_judge_without_mass_on_the_letters_is_refused_and_no_longer_offered() -> None:
    asked = 0

    def mass(labels: int) -> float:
        nonlocal asked
        asked += 1
        return 0.98 if asked <= CANARIES + 80 else 0.01  # the start, and the exam of mode `verdict`

    async with serving(ExamJudge(label_mass=mass), settings=fake_settings(exam=True)) as client:
        refused = await post(client, pair())
        after = (await client.get("/v1/judge")).json()["compare"]
    assert (refused.status_code, "it answered 0 of 80 questions" in refused.json()["detail"]) == (422, True)
    assert (after["judge"], after["exam"]["trust"]) == (None, "failed")
    assert "0 of 80" in after["reason"]


async def test_a_judge_that_goes_by_the_place_alone_is_not_proven() -> None:
    judge = ExamJudge(lambda one: 0.9 if not one.candidate.trajectory else 0.8)  # of a pair: always the first
    async with serving(judge, settings=fake_settings(exam=True)) as client:
        answer = await compare(client, pair())
        exam = (await client.get("/v1/judge")).json()["compare"]["exam"]
    assert (answer.judge.trust, exam["accuracy"]["value"]) == ("unproven", 0.0)


async def test_reasoning_is_taken_off_both_responses() -> None:
    async with serving() as client:
        bare = await compare(client, pair("Rest.", "Run."))
        kept = await compare(client, pair("<think>x</think>Rest.", "Run."))
        removed = await compare(client, pair("<think>x</think>Rest.", "<think>y</think>Run."), reasoning="remove")
    assert removed.results[0].p == bare.results[0].p != kept.results[0].p
    assert [one.code for one in kept.results[0].warnings if one.code != "orders_disagree"] == [
        "reasoning_kept",
        "toy_judge",
    ]


async def test_what_a_caller_used_before_it_left_is_its_teams() -> None:
    engine = FakeEngine(plan=FaultPlan(script=(*(OK,) * CANARIES, "ok", "ok", "ok", "hang")))
    async with serving(engine, settings=fake_settings(max_batch_tokens=1, max_in_flight=1)) as client:
        request = asyncio.create_task(post(client, pair(), pair("Sit.")))
        while engine.calls < CANARIES + 4:
            await asyncio.sleep(0.001)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        used = (await client.get("/v1/usage")).json()
    assert (used["responses"], used["judgements"]) == (0, 4)
    assert 0 < used["tokens"] < engine.tokens

"""The modes on the wire, with the fake engine."""

import json
from typing import Any

import pytest

from service.engine.fake import FakeEngine
from testkit.apps import fake_settings, item, serving
from tests.service.api.test_score import score


async def test_a_written_verdict_carries_its_explanation_and_its_judge() -> None:
    async with serving() as client:
        answer = await score(client, item(), mode="reasoned", votes=3)
        info = (await client.get("/v1/judge")).json()
    assert all(c.explanation for c in answer.results[0].criteria)
    assert answer.judge.mode == "reasoned"
    names = {(one["mode"], one["layout"]): one["fingerprint"] for one in reversed(info["judges"])}
    assert answer.judge.fingerprint == names["reasoned", "rubricd"]
    assert answer.usage.completion_tokens > 0
    assert info["fingerprint"] == names["verdict", "rubricd"]


@pytest.mark.parametrize(("norm", "low"), [("(r-1)/9", 0.0), ("r/10", 0.1)])
async def test_a_rating_comes_with_its_score(norm: str, low: float) -> None:
    async with serving() as client:
        answer = await score(client, item(), mode="implicit", rating_norm=norm)
    [result] = answer.results
    assert result.rating is not None
    expected = (result.rating.expected - 1) / 9 if norm == "(r-1)/9" else result.rating.expected / 10
    assert result.score == pytest.approx(expected)
    assert result.rating.normalised == result.score
    assert low <= (result.score or 0) <= 1
    assert [(c.id, c.status, c.met, c.p) for c in result.criteria] == [("rating", "ok", None, None)]


async def test_likert_needs_no_rubric_and_sees_the_reference() -> None:
    async with serving() as client:
        bare: dict[str, Any] = {"prompt": "My knee hurts.", "response": "Rest it."}
        alone = await score(client, bare, mode="likert")
        against = await score(client, bare | {"reference": "Ice it."}, mode="likert")
        refused = await client.post("/v1/score", json={"items": [bare], "mode": "implicit"})
    assert alone.results[0].score != against.results[0].score
    assert refused.status_code == 422


async def test_expect_judge_means_the_judge_asked_so() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        info = (await client.get("/v1/judge")).json()
        names = {(one["mode"], one["layout"]): one["fingerprint"] for one in reversed(info["judges"])}
        asked = engine.prompts
        body = {"items": [item()], "mode": "reasoned", "expect_judge": names["verdict", "rubricd"]}
        assert (await client.post("/v1/score", json=body)).status_code == 409
        assert engine.prompts == asked
        await score(client, item(), mode="reasoned", expect_judge=names["reasoned", "rubricd"])


async def test_a_prompt_is_chosen_by_name_and_is_another_judge_with_verdicts_of_its_own() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        before = engine.prompts
        plain = await score(client, item())
        named = await score(client, item(), judge_prompt="question")
        bare = await score(client, item(), judge_prompt="bare")
        again = await score(client, item(), judge_prompt="bare", expect_judge=bare.judge.fingerprint)
        wrong = await client.post(
            "/v1/score", json={"items": [item()], "judge_prompt": "bare", "expect_judge": plain.judge.fingerprint}
        )
        info = (await client.get("/v1/judge")).json()
    assert (plain.judge.prompt, bare.judge.prompt) == ("question", "bare")
    assert named.judge == plain.judge != bare.judge
    assert (named.usage.cache_hits, bare.usage.cache_hits, again.usage.cache_hits) == (2, 0, 2)
    assert engine.prompts == before + 4
    assert [c.p for c in bare.results[0].criteria] != [c.p for c in plain.results[0].criteria]
    assert wrong.status_code == 409
    listed = [one["prompt"] for one in info["judges"] if (one["mode"], one["layout"]) == ("verdict", "rubricd")]
    assert listed == ["question", "bare", "examples", "examples_bare", "opposite"]
    about = {one["name"]: one for one in info["prompts"]}
    assert about["examples"]["examples"] == 4 and about["opposite"]["reading"] == "opposite"
    assert (about["true_false"]["served"], about["true_false"]["labels"]) == (False, ["true", "false"])
    assert "not one token" in about["true_false"]["reason"]


@pytest.mark.parametrize("other", [{"mode": "likert"}, {"mode": "reasoned"}, {"layout": "healthbench"}])
async def test_a_prompt_that_is_named_where_there_is_one_only_is_refused(other: dict[str, str]) -> None:
    async with serving() as client:
        refused = await client.post("/v1/score", json={"items": [item()], "judge_prompt": "bare", **other})
    assert refused.status_code == 422
    assert "mode `verdict` and layout `rubricd` only" in refused.json()["errors"][0]["msg"]


async def test_escalation_is_off_unless_asked_for_and_changes_the_judge() -> None:
    async with serving() as plain, serving(settings=fake_settings(escalate_band=0.5, escalate_share=1.0)) as strict:
        off, on = await score(plain, item()), await score(strict, item())
    assert not any(c.explanation for c in off.results[0].criteria)
    assert all(c.explanation for c in on.results[0].criteria)
    assert off.judge.fingerprint != on.judge.fingerprint


async def test_an_engine_that_is_down_is_unready_and_refuses_with_the_reason() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        engine.down = "vLLM died; it is being started again"
        ready = await client.get("/readyz")
        refused = await client.post("/v1/score", json={"items": [item()]})
        alive = await client.get("/healthz")
        engine.down = None
        again = await client.get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (503, "vLLM died; it is being started again")
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert (alive.status_code, again.status_code) == (200, 200)


async def test_a_toy_says_so_in_every_answer() -> None:
    async with serving() as client:
        assert (await client.get("/v1/judge")).json()["toy"] is True
        assert {one["toy"] for one in (await client.get("/v1/judge")).json()["judges"]} == {True}
        assert (await client.post("/v1/score", json={"items": [item()]})).json()["judge"]["toy"] is True
        lines = await client.post("/v1/score", json={"items": [item()]}, headers={"accept": "application/x-ndjson"})
        assert json.loads(lines.text.splitlines()[-1])["judge"]["toy"] is True

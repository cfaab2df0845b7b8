"""The modes on the wire, with the fake engine."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.engine.base import Outcome, Prompt
from service.engine.fake import FakeEngine
from service.errors import EngineFailed
from service.prompting.tokenization import Segmenter
from testkit.apps import fake_settings, item, serving
from testkit.tokenizer_families import family
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


async def test_a_criterion_that_is_asked_twice_has_one_verdict_and_its_disagreement() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        once = await score(client, item())
        before = engine.prompts
        twice = await score(client, item(), consistency=2)
        again = await score(client, item(), consistency=2)
        page = (await client.get("/metrics")).text
    assert (engine.prompts - before, twice.usage.cache_hits, again.usage.cache_hits) == (2, 2, 4)
    assert twice.judge == once.judge
    for single, both in zip(once.results[0].criteria, twice.results[0].criteria, strict=True):
        assert single.p is not None and both.p is not None and both.disagreement is not None
        # The mean of both log-odds tells what the opposite question was answered with.
        odds = math.log(single.p / (1 - single.p)) - 2 * math.log(both.p / (1 - both.p))
        opposite = 1 / (1 + math.exp(-odds))
        assert both.disagreement == pytest.approx(abs(single.p + opposite - 1), abs=1e-6)
        assert (single.disagreement, both.source) == (None, "judge")
    assert all(one.source == "cache" for one in again.results[0].criteria)
    assert "rubricd_disagreement_count 2.0" in page


async def test_a_prompt_that_reads_both_answers_asks_twice_without_being_told() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        before = engine.prompts
        answer = await score(client, item(), judge_prompt="opposite")
        assert engine.prompts - before == 4
        told = await score(client, item(), judge_prompt="opposite", consistency=2)
    assert all(one.disagreement is not None for one in answer.results[0].criteria)
    assert [c.p for c in told.results[0].criteria] == [c.p for c in answer.results[0].criteria]
    assert engine.prompts - before == 4


async def test_both_askings_count_in_the_limit_of_a_request() -> None:
    async with serving(settings=fake_settings(max_judgements=3)) as client:
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 200
        refused = await client.post("/v1/score", json={"items": [item()], "consistency": 2})
        both = await client.post("/v1/score", json={"items": [item()], "judge_prompt": "opposite"})
    assert [refused.status_code, both.status_code] == [422, 422]
    assert "4 judgements in one request" in refused.json()["errors"][0]["msg"]


async def test_a_prompt_without_an_opposite_question_cannot_be_asked_twice(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('description = ""\ninstructions = "Judge."\nquestion = "<<met>> or <<unmet>>?"\n', encoding="utf-8")
    async with serving(settings=fake_settings(prompt=str(file))) as client:
        refused = await client.post("/v1/score", json={"items": [item()], "consistency": 2})
        wrong = await client.post("/v1/score", json={"items": [item()], "consistency": 2, "mode": "likert"})
    assert (refused.status_code, wrong.status_code) == (422, 422)
    assert "prompt `mine` has no question `opposite`" in refused.json()["detail"]
    assert "mode `verdict` and layout `rubricd` only" in wrong.json()["errors"][0]["msg"]


async def test_where_one_of_two_askings_fails_there_is_no_verdict() -> None:
    """The engine answers the plain question and fails at the opposite one."""

    class Half(FakeEngine):
        async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
            read = await super().read_labels(prompts, label_ids)
            asked = [Segmenter(family("qwen")).decode(prompt.own) for prompt in prompts]
            return [
                EngineFailed("not this one") if "Is the opposite true" in text else one
                for one, text in zip(read, asked, strict=True)
            ]

    async with serving(Half()) as client:
        answer = await score(client, item(), consistency=2)
    found = [(one.status, one.met, one.p, one.disagreement) for one in answer.results[0].criteria]
    assert found == [("engine_error", None, None, None)] * 2
    assert answer.results[0].score is None

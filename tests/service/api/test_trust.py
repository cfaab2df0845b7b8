"""What an exam says of the judge is in every answer, in `/v1/judge`, in the metrics and in refusals."""

import json
from typing import Any

from service.engine.fake import FakeEngine
from testkit.apps import fake_settings, item, serving
from testkit.exam_judge import EXAM, ExamJudge
from testkit.metrics_page import page_of
from tests.service.api.test_score import score

EXAMINED = fake_settings(exam=True)


async def test_a_proven_judge_says_so_in_every_answer() -> None:
    async with serving(ExamJudge(), settings=EXAMINED) as client:
        answer = await score(client, item())
        lines = await client.post("/v1/score", json={"items": [item()]}, headers={"accept": "application/x-ndjson"})
        info = (await client.get("/v1/judge")).json()
        page = await page_of(client)
    assert answer.judge.trust == "proven"
    assert json.loads(lines.text.splitlines()[-1])["judge"]["trust"] == "proven"
    trusted = {one["fingerprint"]: one["trust"] for one in info["judges"]}
    assert trusted.pop(info["fingerprint"]) == "proven"
    assert set(trusted.values()) == {"unproven"} and len(trusted) > 4, "they have sat no exam yet"
    [exam] = info["exams"]
    assert (exam["trust"], exam["reason"], exam["pairs"], exam["answered"]) == ("proven", None, 40, 80)
    assert exam["accuracy"]["value"] == 1.0 and 0.9 < exam["accuracy"]["low"] < 1.0
    assert (exam["auroc"], exam["met_when_empty"], exam["fingerprint"]) == (1.0, 0.0, info["fingerprint"])
    assert page("rubricd_exam_accuracy", mode="verdict", layout="rubricd") == 1.0
    assert page("rubricd_judge_proven", mode="verdict", layout="rubricd") == 1.0


async def test_a_judge_at_chance_serves_and_is_unproven() -> None:
    judge = ExamJudge(lambda one: min(0.9, len(one.candidate.response) / 300))
    async with serving(judge, settings=EXAMINED) as client:
        answer = await score(client, item())
        [exam] = (await client.get("/v1/judge")).json()["exams"]
        page = await page_of(client)
    assert (answer.judge.trust, answer.results[0].status) == ("unproven", "ok")
    assert (exam["trust"], exam["accuracy"]["value"]) == ("unproven", 0.5)
    assert "20 of 40 pairs" in exam["reason"]
    assert page("rubricd_judge_proven", mode="verdict", layout="rubricd") == 0.0


async def test_a_mode_that_fails_is_refused_and_no_longer_offered() -> None:
    async with serving(ExamJudge(explain=lambda one: "Answer with the JSON object."), settings=EXAMINED) as client:
        before = (await client.get("/v1/judge")).json()
        refused = await client.post("/v1/score", json={"items": [item()], "mode": "reasoned"})
        again = await client.post("/v1/score", json={"items": [item()], "mode": "reasoned"})
        after = (await client.get("/v1/judge")).json()
        served = await score(client, item())
    assert "reasoned" in before["modes"]
    assert (refused.status_code, again.status_code) == (422, 422)
    assert "it answered 0 of 48 questions of the exam" in refused.json()["detail"]
    assert {(one["mode"], one["layout"]) for one in before["judges"]} - {
        (one["mode"], one["layout"]) for one in after["judges"]
    } == {("reasoned", "rubricd")}
    assert [one["trust"] for one in after["exams"]] == ["proven", "failed"]
    assert "0 of 48" in next(one["reason"] for one in after["unserved"] if one["mode"] == "reasoned")
    assert served.judge.trust == "proven"


async def test_a_second_opinion_of_a_mode_that_fails_is_not_asked() -> None:
    settings = fake_settings(exam=True, escalate_band=0.5, escalate_share=1.0)
    async with serving(ExamJudge(explain=lambda one: ""), settings=settings) as client:
        answer = await score(client, item())
    assert all(one.status == "ok" and one.explanation is None for one in answer.results[0].criteria)


async def test_a_toy_serves_every_mode_and_is_examined_once() -> None:
    engine = FakeEngine()
    async with serving(engine, settings=EXAMINED) as client:
        asked = engine.prompts
        body: dict[str, Any] = {"items": [item()], "mode": "reasoned"}
        assert (await client.post("/v1/score", json=body)).json()["judge"]["trust"] == "unproven"
        assert engine.prompts == asked + 2 * 2
    assert asked >= len(EXAM.questions)


async def test_without_an_exam_nothing_is_proven() -> None:
    async with serving(ExamJudge()) as client:
        answer = await score(client, item())
        info = (await client.get("/v1/judge")).json()
    assert (answer.judge.trust, info["exams"]) == ("unproven", [])

"""`batch: all` on the wire: verdicts with explanations, a judge of its own, and refusals that say what to change."""

import json
from typing import Any

import pytest

from service.engine.fake import FakeEngine
from testkit.apps import fake_settings, item, serving
from tests.service.api.test_score import score

RUBRIC: list[dict[str, Any]] = [
    {"id": '"}, "c2": {"\u202e' + "x" * 190, "text": "It tells the user to rest.", "points": 5},
    {"text": "It names no doctor.", "points": -2},
    {"text": "It says ice.", "points": 1, "verifier": {"rule": "contains", "text": "ice"}},
    {"text": "It is kind.", "points": 2},
]


LEVELS = [{"text": "not at all", "value": 0}, {"text": "very", "value": 1}]


async def test_each_criterion_has_its_verdict_explanation_and_source_under_its_own_id() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        asked = engine.prompts
        first = await score(client, item(rubric=RUBRIC), mode="reasoned", batch="all")
        written = engine.prompts - asked
        again = await score(client, item(rubric=RUBRIC), mode="reasoned", batch="all")
    [result] = first.results
    assert [one.source for one in result.criteria] == ["judge", "judge", "rule", "judge"]
    assert result.criteria[0].id == RUBRIC[0]["id"]
    assert all(one.status == "ok" for one in result.criteria)
    assert len({one.explanation for one in result.criteria}) == 4 and result.criteria[2].explanation is None
    assert (written, first.usage.judgements) == (1 + 3, 3), "one document, and a reading for each verdict in it"
    assert [one.source for one in again.results[0].criteria] == ["cache", "cache", "rule", "cache"]
    assert (again.usage.judgements, again.usage.cache_hits, again.usage.prompt_tokens) == (0, 3, 0)
    assert [one.p for one in again.results[0].criteria] == [one.p for one in result.criteria]


async def test_it_is_a_judge_of_its_own_which_older_clients_do_not_meet() -> None:
    async with serving() as client:
        answer = await score(client, item(), mode="reasoned", batch="all")
        alone = await score(client, item(), mode="reasoned")
        info = (await client.get("/v1/judge")).json()
        wrong = {"items": [item()], "mode": "reasoned", "batch": "all", "expect_judge": alone.judge.fingerprint}
        refused = await client.post("/v1/score", json=wrong)
        right = await client.post("/v1/score", json=wrong | {"expect_judge": answer.judge.fingerprint})
    assert (answer.judge.batch, alone.judge.batch) == ("all", None)
    assert answer.judge.fingerprint != alone.judge.fingerprint
    assert "batch" not in json.dumps(info["judges"])
    [offered] = [one for one in info["more"]["judges"] if one.get("batch")]
    assert (offered["batch"], offered["fingerprint"]) == ("all", answer.judge.fingerprint)
    assert (refused.status_code, right.status_code) == (409, 200)


@pytest.mark.parametrize(
    ("fields", "rubric", "said"),
    [
        ({"mode": "verdict"}, None, "`batch` has a meaning in mode `reasoned` and layout `rubricd` only"),
        ({"mode": "implicit"}, None, "`batch` has a meaning in mode `reasoned` and layout `rubricd` only"),
        ({"layout": "healthbench"}, None, "`batch` has a meaning in mode `reasoned` and layout `rubricd` only"),
        ({"debias": True}, None, "without `batch`"),
        ({"batch": "some"}, None, "all"),
        (
            {},
            [{"id": "a", "text": "How kind?", "points": 1, "levels": LEVELS}],
            "criterion `a` has levels, choices or a value; leave `batch` out",
        ),
    ],
)  # fmt: skip
async def test_what_has_no_meaning_is_refused_with_what_to_change(
    fields: dict[str, Any], rubric: list[dict[str, Any]] | None, said: str
) -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        before = engine.prompts
        body = {"items": [item(**({} if rubric is None else {"rubric": rubric}))], "mode": "reasoned", "batch": "all"}
        answer = await client.post("/v1/score", json=body | fields)
        assert (answer.status_code, engine.prompts) == (422, before)
    assert said in json.dumps(answer.json(), ensure_ascii=False), answer.json()


async def test_a_rubric_whose_document_cannot_fit_says_how_many_criteria_do() -> None:
    rubric = [{"text": f"Criterion {n}.", "points": 1} for n in range(70)]
    async with serving(settings=fake_settings(reasoned_tokens=500)) as client:
        answer = await client.post(
            "/v1/score", json={"items": [item(rubric=rubric)], "mode": "reasoned", "batch": "all"}
        )
        fits = await client.post(
            "/v1/score", json={"items": [item(rubric=rubric[:50])], "mode": "reasoned", "batch": "all"}
        )
    assert answer.status_code == 422 and fits.status_code == 200
    [error] = answer.json()["errors"]
    assert error["loc"] == ["batch"]
    assert "send at most 65 criteria a response, or leave `batch` out" in error["msg"]


async def test_other_protocols_take_it_as_an_option() -> None:
    async with serving() as client:
        label = {"rubric": RUBRIC[:2], "prompt": "My knee hurts."}
        answer = await client.post(
            "/rm?mode=reasoned&batch=all", json={"prompt": "My knee hurts.", "response": "Rest it.", "label": label}
        )
    assert answer.status_code == 200, answer.text

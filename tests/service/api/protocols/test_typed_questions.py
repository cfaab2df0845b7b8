"""Choices and scores of both routes: by their labels where the judge is proven to read these, else by predicates."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.scoring.exam.proctor import NoExam
from testkit.apps import fake_settings, serving
from testkit.exam_judge import ExamJudge
from testkit.waiting import HUNG_S
from tests.service.api.protocols.bodies import RESPONSE, by_the_contract, decisions, failing, predicate

WHAT = {"type": "choice", "instructions": "What should be done?", "choices": [{"value": "rest"}, {"value": True}]}
BAD = {"type": "score", "instructions": "How bad is it?", "levels": [{"label": "mild"}, {"label": "bad"}]}
ASKED = decisions(WHAT, BAD, predicate("Does it say to rest?"))
TYPED = {
    "model": "any",
    "state": RESPONSE,
    "questions": {
        "what": {"type": "choice", "instructions": "What?", "criteria": {"rest": None, "run": {"how": "fast"}}},
        "bad": {"type": "score", "criteria": ["mild", ["bad"], "worst"]},
    },
}


@pytest.fixture
async def proven(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a judge that is proven to read options by their labels."""
    monkeypatch.setattr(NoExam, "trust_of", lambda self, judge: "proven")
    async with serving() as client:
        yield client


async def answered(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/v1/decisions") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def readings(client: httpx.AsyncClient, *questions: dict[str, Any], url: str = "/v1/decisions") -> list[str]:
    return [one["x_reading"] for one in (await answered(client, decisions(*questions), url))["answers"]]


def choice(*values: str | bool) -> dict[str, Any]:
    return {"type": "choice", "instructions": "What?", "choices": [{"value": one} for one in values]}


async def test_a_choice_and_a_score_are_one_criterion_each_in_one_pass(proven: httpx.AsyncClient) -> None:
    reply = await answered(proven, ASKED)
    chosen, scored, plain = reply["answers"]
    rubric = [
        {"text": WHAT["instructions"], "points": 1, "choices": [{"text": one, "value": 0} for one in ("rest", "true")]},
        {
            "text": BAD["instructions"],
            "points": 1,
            "levels": [{"text": "mild", "value": 0}, {"text": "bad", "value": 1}],
        },
        {"text": "Does it say to rest?", "points": 1},
    ]
    what, bad, rest = (await by_the_contract(proven, rubric=rubric)).criteria
    assert [one["probability"] for one in chosen["probabilities"]] == pytest.approx(what.p_levels)
    assert chosen["choice"] == ("rest", True)[what.level or 0]
    assert scored["score"] == pytest.approx(bad.value) and plain["probability"] == rest.p
    assert (chosen["x_reading"], scored["x_reading"]) == ("labels", "labels") and "x_reading" not in plain
    by_predicates = await answered(proven, ASKED, "/v1/decisions?consistency=2")
    assert by_predicates["answers"][0]["x_reading"] == "predicates", "levels are asked once"


async def test_options_of_the_other_route_are_read_so_too(proven: httpx.AsyncClient) -> None:
    answers = (await answered(proven, TYPED, "/v1/systemone"))["answers"]
    what = [{"text": text, "value": 0} for text in ("rest", 'run: {"how":"fast"}')]
    bad = [{"text": text, "value": at / 2} for at, text in enumerate(("mild", '["bad"]', "worst"))]
    rubric = [
        {"text": "What?", "points": 1, "choices": what},
        {"text": "Which option is true of the response?", "points": 1, "levels": bad},
    ]
    chosen, scored = (await by_the_contract(proven, prompt=[], rubric=rubric)).criteria
    assert list(answers["what"]["probabilities"].values()) == pytest.approx(chosen.p_levels)
    assert list(answers["bad"]["probabilities"].values()) == pytest.approx(scored.p_levels)
    assert answers["bad"]["score"] == pytest.approx(2 * (scored.value or 0.0))
    assert answers["what"]["x_reading"] == answers["bad"]["x_reading"] == "labels"


async def test_one_pass_takes_fewer_tokens_than_a_predicate_for_each_option(
    proven: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = decisions(choice(*"abcdefgh"))
    by_labels = (await answered(proven, asked))["usage"]["input_tokens"]
    monkeypatch.setattr(NoExam, "trust_of", lambda self, judge: "unproven")
    assert by_labels < (await answered(proven, asked))["usage"]["input_tokens"] / 2


async def test_options_that_labels_cannot_tell_apart_are_predicates(proven: httpx.AsyncClient) -> None:
    many = [f"option {n}" for n in range(201)]
    bads = {"type": "score", "instructions": "How bad?", "levels": [{"label": "bad"}] * 2}
    asked = [choice("true", True), choice("a", " "), choice(*many), bads, choice(*many[:200])]
    assert await readings(proven, *asked) == ["predicates"] * 4 + ["labels"]


async def test_a_mode_without_an_exam_of_options_is_unproven() -> None:
    async with serving() as client:
        assert await readings(client, WHAT) == ["predicates"]
        assert await readings(client, WHAT, url="/v1/decisions?mode=reasoned") == ["predicates"]


async def test_options_whose_labels_hold_too_little_are_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoExam, "trust_of", lambda self, judge: "proven")
    async with failing("low_mass") as client:
        reply = await answered(client, decisions(WHAT))
    assert reply["answers"] == [{"type": "refusal", "name": None}]


async def exam_of(client: httpx.AsyncClient) -> dict[str, Any]:
    """What the judge says of its exam of options, once that is over."""
    async with asyncio.timeout(HUNG_S):
        while True:
            found: dict[str, Any] = (await client.get("/v1/judge")).json()["options"]
            if found["exam"] is not None:
                return found
            await asyncio.sleep(0.01)  # its prompts are rendered in a thread


@pytest.mark.parametrize(("first", "trust", "reading"), [(False, "proven", "labels"), (True, "unproven", "predicates")])
async def test_a_judge_is_asked_by_labels_after_it_has_shown_that_it_reads_them(
    first: bool, trust: str, reading: str
) -> None:
    """One that takes the option that stands first, whatever it says, is asked for predicates."""
    engine = ExamJudge(by_order=first)
    async with serving(engine, settings=fake_settings(exam=True)) as client:
        found = await exam_of(client)
        assert (found["trust"], found["most"], found["exam"]["questions"]) == (trust, 200, 80)
        assert await readings(client, WHAT) == [reading]

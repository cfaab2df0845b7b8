"""`/v1/systemone`: an answer for each question, or the protocol's error for all of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.apps import fake_settings, serving
from testkit.teams_file import auth, team, write
from tests.service.api.protocols.bodies import MESSAGES, PROMPT, RESPONSE, by_the_contract, failing, problem

NOUL = {"type": "noul", "instructions": "Does it say to rest?"}


def asking(state: Any = RESPONSE, **questions: Any) -> dict[str, Any]:
    return {"model": "jev-latest", "state": state, "questions": questions or {"rest": NOUL}}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def answered(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/v1/systemone") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def told(client: httpx.AsyncClient, *texts: str, **item: Any) -> list[float]:
    rubric = [{"text": text, "points": 1} for text in texts]
    return [one.p or 0.0 for one in (await by_the_contract(client, rubric=rubric, **item)).criteria]


def refused(answer: httpx.Response, status: int = 422) -> list[Any]:
    assert answer.status_code == status and answer.headers["content-type"] == "application/json", answer.text
    detail: list[Any] = answer.json()["detail"]
    return detail


@pytest.mark.parametrize(
    ("state", "item"),
    [
        (RESPONSE, {"prompt": [], "response": RESPONSE}),
        ({"submission": RESPONSE}, {"prompt": [], "response": RESPONSE}),
        ({"submission": RESPONSE, "input": PROMPT}, {"prompt": MESSAGES[:1], "response": RESPONSE}),
        ({"submission": RESPONSE, "input": MESSAGES[:1]}, {"prompt": MESSAGES[:1], "response": RESPONSE}),
        (
            {"submission": RESPONSE, "input": [1]},
            {"prompt": [{"role": "user", "content": "[1]"}], "response": RESPONSE},
        ),
        (
            {"submission": {"a": 1}, "input": PROMPT, "reference_submission": "Rest.", "guidelines": "Be strict."},
            {
                "prompt": [{"role": "system", "content": "Be strict."}, *MESSAGES[:1]],
                "response": '{"a":1}',
                "reference": "Rest.",
            },
        ),
        ({"submission": RESPONSE, "mood": 1}, {"prompt": [], "response": f'{{"submission":"{RESPONSE}","mood":1}}'}),
        ([RESPONSE, 1], {"prompt": [], "response": f'["{RESPONSE}",1]'}),
    ],
)
async def test_a_state_is_judged_as_the_contract_would(client: httpx.AsyncClient, state: Any, item: Any) -> None:
    reply = await answered(client, asking(state))
    [p] = await told(client, "Does it say to rest?", **item)
    assert reply["answers"] == {"rest": {"type": "noul", "noul": p}}
    assert reply["model"] == "fake" and reply["usage"]["output_tokens"] == 0 < reply["usage"]["input_tokens"]


async def test_options_and_levels_are_shares_of_their_predicates(client: httpx.AsyncClient) -> None:
    body = asking(
        what={"type": "choice", "instructions": "What?", "criteria": {"rest": None, "run": {"how": "fast"}}},
        bad={"type": "score", "criteria": ["mild", ["bad"], "worst"]},
        sides={"type": "noul", "criteria": {"true": "It rests.", "false": None}},
    )
    answers = (await answered(client, body))["answers"]
    p = await told(
        client,
        "What?\nThe answer is: rest",
        'What?\nThe answer is: run ({"how":"fast"})',
        "The level is: 0 (mild)",
        'The level is: 1 (["bad"])',
        "The level is: 2 (worst)",
        "true: It rests.",
        prompt=[],
    )
    rest, levels = p[0] / (p[0] + p[1]), [one / sum(p[2:5]) for one in p[2:5]]
    assert answers["what"]["probabilities"] == {"rest": rest, "run": p[1] / (p[0] + p[1])}
    assert answers["what"]["choice"] == ("rest" if rest >= 0.5 else "run")
    assert answers["what"]["confidence"] == pytest.approx(abs(rest - 0.5) / 0.5)
    assert answers["bad"]["legend"] == {"0": "mild", "1": ["bad"], "2": "worst"}
    assert answers["bad"]["score"] == pytest.approx(levels[1] + 2 * levels[2])
    assert answers["sides"] == {"type": "noul", "noul": p[5]}


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ({"type": "noul"}, ["instructions"]),
        ({"type": "noul", "criteria": {"maybe": "a"}}, ["criteria"]),
        ({"type": "noul", "criteria": ["a"]}, ["criteria"]),
        ({"type": "choice", "criteria": {"a": None}}, ["criteria"]),
        ({"type": "choice", "criteria": ["a", "b"]}, ["criteria"]),
        ({"type": "choice", "criteria": {str(n): None for n in range(256)}}, ["criteria"]),
        ({"type": "score", "criteria": {"0": "a", "1": "b"}}, ["criteria"]),
        ({"type": "score", "criteria": ["a"] * 11}, ["criteria"]),
        ({"type": "box", "instructions": "Where?"}, ["type"]),
    ],
)
async def test_what_is_no_question_is_refused_at_its_place(
    client: httpx.AsyncClient, question: Any, place: Any
) -> None:
    for id, named in (("my.q-1", "my.q-1"), ("what is it?", 1)):
        detail = refused(await client.post("/v1/systemone", json=asking(a=NOUL, **{id: question})))
        assert [one["loc"] for one in detail] == [["body", "questions", named, *place]]
        assert all(one["msg"] and one["type"] for one in detail)


async def test_bodies_for_other_routes_say_where_to_go(client: httpx.AsyncClient) -> None:
    [openai] = refused(await client.post("/v1/systemone", json={"model": "m", "input": "a", "questions": [NOUL]}))
    assert "`POST /v1/decisions`" in openai["msg"]
    assert "`POST /v1/systemone`" in problem(await client.post("/v1/decisions", json=asking()), 422).detail
    assert "`POST /v1/systemone`" in problem(await client.post("/v1/score", json=asking()), 422).detail


async def test_what_was_not_judged_fails_the_request_and_is_no_number() -> None:
    for fault, again in (("low_mass", None), ("batch", "1")):
        async with failing("ok", fault) as client:  # type: ignore[arg-type]
            answer = await client.post("/v1/systemone", json=asking(a=NOUL, b={**NOUL, "instructions": "Else?"}))
        assert answer.status_code == 503 and answer.headers.get("retry-after") == again
        detail = answer.json()["detail"]
        assert detail["error_type"] == "not_judged" and "1 of 2 questions have no answer" in detail["message"]


async def test_what_is_too_long_for_the_judge_is_the_callers_to_shorten() -> None:
    async with serving(settings=fake_settings(max_model_len=2_000)) as client:
        answer = await client.post("/v1/systemone", json=asking("long " * 20_000))
    assert (answer.status_code, answer.json()["detail"]["error_type"]) == (413, "max_tokens_exceeded")


async def test_a_key_is_asked_for_and_models_are_listed(tmp_path: Path) -> None:
    async with serving(settings=fake_settings(teams=write(tmp_path / "teams.json", team("a")))) as client:
        missing = await client.post("/v1/systemone", json=asking())
        assert (missing.status_code, missing.json()["detail"]["error_type"]) == (401, "authentication_error")
        problem(await client.get("/v1/models"), 401)
        listed = (await client.get("/v1/models", headers=auth("a"))).json()
        assert (await client.post("/v1/systemone", json=asking(), headers=auth("a"))).status_code == 200
    assert [one["name"] for one in listed["models"]] == [one["id"] for one in listed["data"]] == ["fake"]


async def test_many_options_are_several_rubrics(client: httpx.AsyncClient) -> None:
    named = {f"option {n}": None for n in range(255)}
    async with serving(settings=fake_settings(max_criteria=100)) as small:
        for one in (client, small):
            reply = await answered(one, asking(big={"type": "choice", "criteria": named}, last=NOUL))
            probabilities = reply["answers"]["big"]["probabilities"]
            assert list(probabilities) == list(named) and sum(probabilities.values()) == pytest.approx(1.0)
            assert reply["answers"]["last"]["type"] == "noul"

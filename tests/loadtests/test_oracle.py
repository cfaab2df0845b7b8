"""The oracle agrees with the service where nothing fails, and sees whatever is changed in an answer."""

import copy
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from loadtests.oracle.__main__ import Found, table
from loadtests.oracle.faults import FAULTS
from loadtests.oracle.requests import AGGREGATIONS, Asked, ask
from loadtests.oracle.truth import faults_of
from service.engine import fake
from testkit.apps import fake_settings, serving
from testkit.marks import Marks, mark, p_met, read
from testkit.oracle_service import reader
from testkit.tokenizer_families import family

Json = dict[str, Any]
ASKED = [ask(number, 1) for number in range(120)]


def test_marks_are_read_from_a_text_and_no_mark_twice() -> None:
    text = "".join(mark(kind, number) for number, kind in enumerate("pfrc", start=10))
    assert read(f"Some {text} text") == Marks(10, 11, 12, 13)
    assert read("[p1] and [p1]") is None
    assert read("none") == Marks()


def test_another_mark_is_another_verdict_and_none_is_near_a_threshold() -> None:
    verdicts = Counter(
        p_met(Marks(p, f, r, c)) for p in range(5) for f in (None, 1) for r in range(10) for c in range(10)
    )
    assert len(verdicts) > 500
    assert min(abs(p - t) for p in verdicts for t in (0.25, 0.4, 0.5, 0.75)) > 4e-4


def test_the_requests_have_every_shape() -> None:
    bodies = [one.body for one in ASKED]
    assert {body.get("aggregation", "healthbench") for body in bodies} == set(AGGREGATIONS)
    assert {type(item["prompt"]) for body in bodies for item in body["items"]} == {str, list}
    for name in ("soft", "threshold", "unjudged", "deadline_ms", "priority"):
        assert 5 < sum(name in body for body in bodies) < 110, name
    assert any(one.streamed for one in ASKED) and any(one.key for one in ASKED)
    assert ask(5, 1) == ask(5, 1) != ask(5, 2)


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(fake, "oracle", reader(family("qwen").decode))
    async with serving(settings=fake_settings()) as serving_client:
        yield serving_client


async def _answer(client: httpx.AsyncClient, asked: Asked) -> Json:
    body = {name: value for name, value in asked.body.items() if name != "deadline_ms"}
    answer = await client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_oracle_agrees_with_a_service_without_faults(client: httpx.AsyncClient) -> None:
    wrong: Counter[str] = Counter()
    judged = 0
    for asked in ASKED:
        answer = await _answer(client, asked)
        wrong.update(faults_of(asked.body, answer))
        judged += sum(one["status"] == "ok" for result in answer["results"] for one in result["criteria"])
    assert not wrong
    assert judged > 500


def _first(answer: Json) -> Json:
    one: Json = answer["results"][0]["criteria"][0]
    return one


def _unjudge(answer: Json, **more: Any) -> None:
    """The first criterion has no verdict, and the score says nothing of it."""
    _first(answer).update({"status": "timeout", "met": None, "p": None, **more})


CHANGES: dict[str, Callable[[Json], object]] = {
    "another p": lambda answer: _first(answer).update(p=_first(answer)["p"] + 1e-3),
    "met turned round": lambda answer: _first(answer).update(met=not _first(answer)["met"]),
    "an invented false": lambda answer: _unjudge(answer, met=False),
    "an invented p": lambda answer: _unjudge(answer, p=0.0),
    "a score that forgets a criterion": _unjudge,
    "an unknown status": lambda answer: _unjudge(answer, status="lost"),
    "another score": lambda answer: answer["results"][0].update(score=0.123),
    "no score": lambda answer: answer["results"][0].update(score=None),
    "other bounds": lambda answer: answer["results"][0].update(score_bounds=[-9.0, 9.0]),
    "another coverage": lambda answer: answer["results"][0].update(coverage=0.5),
    "another status": lambda answer: answer["results"][0].update(status="partial"),
    "another source": lambda answer: _first(answer).update(source="rule"),
    "other points": lambda answer: _first(answer).update(points=77),
    "a result lost": lambda answer: answer["results"].pop(),
    "results swapped": lambda answer: answer["results"].reverse(),
    "a criterion lost": lambda answer: answer["results"][0]["criteria"].pop(),
    "another mean": lambda answer: answer["groups"][0].update(mean=0.777),
    "another spread": lambda answer: answer["groups"][0].update(std=0.777),
    "a group lost": lambda answer: answer["groups"].clear(),
}


async def test_the_oracle_sees_a_change_of_any_part(client: httpx.AsyncClient) -> None:
    rubric = {"criteria": [{"id": f"c{n}", "text": f"Says it [c{n}].", "points": n + 1} for n in range(3)]}
    body = {"items": [{"prompt": "Why? [p1]", "responses": ["So [r1].", "So [r2]."], "rubric": rubric}]}
    answer = await _answer(client, Asked(0, body, "red", False, None))
    assert faults_of(body, answer) == []
    for name, change in CHANGES.items():
        changed = copy.deepcopy(answer)
        change(changed)
        assert faults_of(body, changed) != [], name


def _partial(**more: Any) -> list[str]:
    """Points 1 and 3, of which the second was not judged, in an answer with the score of 0.25 + 0.75 / 2."""
    rubric = {"criteria": [{"id": f"c{n}", "text": f"[c{n}]", "points": points} for n, points in ((0, 1), (1, 3))]}
    number = next(n for n in range(100) if p_met(Marks(1, None, n, 0)) > 0.5)
    request = {"items": [{"prompt": "[p1]", "response": f"[r{number}]", "rubric": rubric}], **more}
    judged = {"status": "ok", "met": True, "p": p_met(Marks(1, None, number, 0)), "points": 1, "source": "judge"}
    missing = {"status": "timeout", "met": None, "p": None, "points": 3, "source": "judge"}
    criteria = [{"id": "c0", **judged}, {"id": "c1", **missing}]
    result = {"id": "0", "status": "partial", "score": 0.625, "score_bounds": [0.25, 1.0], "coverage": 0.25}
    return faults_of(request, {"results": [{**result, "criteria": criteria}]})


def test_the_score_of_a_part_is_between_its_bounds_where_the_request_asks_for_it() -> None:
    assert _partial(min_coverage=0.25, unjudged="middle") == []
    for other in ({"unjudged": "middle"}, {"min_coverage": 0.3, "unjudged": "middle"}, {"min_coverage": 0.2}):
        assert _partial(**other) == ["a wrong score"]
    assert _partial(min_coverage=0.25, unjudged="lower") == ["a wrong score"]


def test_a_run_is_passed_where_nothing_is_wrong_and_something_was_judged() -> None:
    good = Found(requests=1, judgements=Counter(ok=5))
    assert good.passed and not Found().passed
    assert not Found(judgements=Counter(ok=5), wrong=Counter(["a wrong score"])).passed
    assert not Found(judgements=Counter(ok=5), hung=1).passed
    assert not Found(judgements=Counter(ok=5), left=3.0).passed
    assert "judgements, ok" in table(good)
    assert len(FAULTS) == 10
    json.dumps(good.judgements)

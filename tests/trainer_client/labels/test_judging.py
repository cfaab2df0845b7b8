import json
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from testkit.scripted_judge import (
    FINGERPRINT,
    ManualClock,
    Service,
    answered,
    chance,
    items,
    judge_info,
    problem,
    scores,
)
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.errors import DataError, InvalidRequest, Unauthorized
from trainer_client.labels import Labels, judge_labels, read_labels
from trainer_client.labels.judging import FINAL

Json = dict[str, Any]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(f"{json.dumps({**item, 'met': {'0': True, '1': None}})}\n" for item in items(50)))
    return read_labels([str(path)])


def _client(service: Service) -> JudgeClient:
    return JudgeClient("http://judge", transport=service.transport)


async def test_every_criterion_has_its_own_verdict(labels: Labels) -> None:
    done: list[int] = []
    judged = await judge_labels(_client(Service()), labels, progress=done.append)
    assert judged.judge.fingerprint == FINGERPRINT and judged.labels_digest == labels.digest
    assert sum(done) == len(judged.criteria) == 100
    for place, one in enumerate(judged.criteria):
        assert one.item == place // 2 and one.criterion == str(place % 2)
        assert one.p == one.p_raw == chance(f"answer {one.item}", one.text)
        assert one.met == (one.p >= 0.5) and one.met_label == (True, None)[place % 2]
        assert one.points == (5, -3)[place % 2] and one.status == "ok" and one.source == "judge"


async def test_requests_fit_the_service_and_hold_no_labels(labels: Labels) -> None:
    service = Service(max_items=7)
    await judge_labels(_client(service), labels)
    assert max(len(body["items"]) for body in service.bodies) == 7
    assert {body["expect_judge"] for body in service.bodies} == {FINGERPRINT}
    assert not any("met" in json.dumps(item) for body in service.bodies for item in body["items"])


async def test_a_run_that_was_stopped_resumes_without_asking_again(labels: Labels, tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    asked = 0

    def stops(body: Json) -> httpx.Response:
        nonlocal asked
        asked += len(body["items"])
        return problem("unauthorized", 401) if asked > 30 else answered(scores(body))

    client = _client(Service(stops))
    client.batch_items = 5
    with pytest.raises(Unauthorized):
        await judge_labels(client, labels, store=store, workers=1)
    assert len(store.read_text().splitlines()) == 30
    with store.open("a") as file:
        file.write('{"key": "cut o')
    service = Service()
    judged = await judge_labels(_client(service), labels, store=store)
    assert sum(len(body["items"]) for body in service.bodies) == 20
    fresh = await judge_labels(_client(Service()), labels)
    assert judged.criteria == fresh.criteria
    silent = Service()
    again = await judge_labels(_client(silent), labels, store=store)
    assert not silent.bodies and again.criteria == fresh.criteria


async def test_verdicts_of_another_judge_or_other_options_are_kept_apart(labels: Labels, tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    await judge_labels(_client(Service()), labels, store=store)
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    store.write_text("".join(f"{json.dumps({**line, 'judge': 'another'})}\n" for line in lines))
    service = Service()
    await judge_labels(_client(service), labels, store=store)
    assert sum(len(body["items"]) for body in service.bodies) == 50
    stricter = Service()
    await judge_labels(_client(stricter), labels, store=store, options={"threshold": 0.7})
    assert sum(len(body["items"]) for body in stricter.bodies) == 50
    unchanged = Service()
    await judge_labels(_client(unchanged), labels, store=store, options={"priority": "eval"})
    assert not unchanged.bodies


async def test_a_missing_verdict_is_a_status_and_is_asked_again(labels: Labels, tmp_path: Path) -> None:
    def lacking(body: Json) -> httpx.Response:
        whole = scores(body)
        for result in whole["results"]:
            result["criteria"][0] |= {"status": "timeout", "met": None, "p": None, "p_raw": None, "label_mass": None}
            result["criteria"][1] |= {"status": "abstained", "met": None, "p": None}
            result |= {"status": "failed", "score": None, "coverage": 0.0, "score_bounds": [0.0, 1.0]}
        return answered(whole)

    store = tmp_path / "verdicts.jsonl"
    client = JudgeClient("http://judge", transport=Service(lacking).transport, clock=ManualClock().clock)
    judged = await judge_labels(client, labels, store=store, wait_for_judge_s=60)
    assert {(one.status, one.met, one.p) for one in judged.criteria} == {
        ("timeout", None, None),
        ("abstained", None, None),
    }
    assert store.read_text() == "" and judged.may_come_later == 50


async def test_an_item_that_is_refused_is_told_and_the_others_go_on(labels: Labels) -> None:
    def refuses(body: Json) -> httpx.Response:
        for place, item in enumerate(body["items"]):
            if item["response"] == "answer 3":
                where = [{"loc": ["body", "items", place, "rubric"], "msg": "too long"}]
                return problem("invalid_request", 422, errors=where)
        return answered(scores(body))

    judged = await judge_labels(_client(Service(refuses)), labels)
    assert [one.status for one in judged.criteria if one.item == 3] == ["invalid_request"] * 2
    assert {one.status for one in judged.criteria if one.item != 3} == {"ok"} and judged.may_come_later == 0


async def test_a_mode_without_verdicts_is_refused(labels: Labels) -> None:
    with pytest.raises(InvalidRequest, match="rates a response as a whole"):
        await judge_labels(_client(Service()), labels, options={"mode": "likert"})


@pytest.mark.parametrize("line", ["{}", "[]", '{"key": "k", "judge": "j", "criteria": [["ok"]]}', "nonsense"])
async def test_a_damaged_store_is_named_with_its_line(labels: Labels, tmp_path: Path, line: str) -> None:
    store = tmp_path / "verdicts.jsonl"
    store.write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"verdicts\.jsonl, line 1: not a line"):
        await judge_labels(_client(Service()), labels, store=store)


def test_the_final_statuses_are_the_contracts() -> None:
    assert set(get_args(wire.CriterionStatus)) >= FINAL


async def test_without_a_name_the_judge_is_that_of_the_default_prompt(labels: Labels) -> None:
    service = Service()
    judges = [{**judge_info()["judges"][0], "prompt": name, "fingerprint": name} for name in ("bare", "question")]
    about = {"description": "", "labels": ["Yes", "No"], "reading": "single", "examples": 0, "served": True}
    unserved = [{"mode": "verdict", "layout": "rubricd", "prompt": "examples", "reason": "its labels are two tokens"}]
    service.info = {"judges": judges, "prompts": [{"name": "question", **about}], "unserved": unserved}

    def named(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = body["expect_judge"]
        return answered(whole)

    service.answer = named
    assert (await judge_labels(_client(service), labels)).judge.fingerprint == "question"
    with pytest.raises(InvalidRequest, match="with prompt examples: its labels are two tokens"):
        await judge_labels(_client(service), labels, options={"judge_prompt": "examples"})
    with pytest.raises(InvalidRequest, match="with prompt none; `GET /v1/judge` lists"):
        await judge_labels(_client(service), labels, options={"judge_prompt": "none"})


async def test_levels_are_kept_as_served_and_as_the_judge_gave_them(tmp_path: Path) -> None:
    levels = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]
    rubric = [
        {"id": "a", "text": "Names it.", "points": 2, "levels": levels},
        {"id": "b", "text": "Lies.", "points": -1},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"prompt": "p", "response": "r", "rubric": rubric, "level": {"a": 1}}) + "\n")
    labels, store = read_labels([str(path)]), tmp_path / "verdicts.jsonl"
    graded = {"level": 2, "p_levels": [0.2, 0.3, 0.5], "p_levels_raw": [0.05, 0.05, 0.9], "value": 0.65}

    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0]["criteria"][0].update(graded)
        return answered(whole)

    first = await judge_labels(_client(Service(answer)), labels, store=store)
    again = Service()
    second = await judge_labels(_client(again), labels, store=store)
    assert first.criteria == second.criteria and not again.bodies
    one, plain = second.criteria
    assert (one.level_label, one.level) == (1, 2)
    assert (one.p_levels, one.p_levels_raw) == ((0.2, 0.3, 0.5), (0.05, 0.05, 0.9))
    assert (plain.level, plain.p_levels, plain.p_levels_raw, plain.values) == (None, None, None, ())

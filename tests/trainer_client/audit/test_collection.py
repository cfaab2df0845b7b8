"""Answers are kept as they arrive, used again for the same judge, and never made up."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, problem, scores
from tests.trainer_client.audit import judges
from trainer_client.audit.askings import Asking, audit_rows
from trainer_client.audit.checks import CHECKS, askings_of
from trainer_client.audit.collection import Answers, collect
from trainer_client.client import JudgeClient
from trainer_client.errors import DataError

OPTIONS = {"mode": "verdict", "layout": "rubricd", "expect_judge": FINGERPRINT}


def _askings() -> list[Asking]:
    return list(askings_of(CHECKS, audit_rows(judges.items(4), 4).rows).values())


async def _collected(service: Service, store: Path, told: list[int] | None = None) -> Answers:
    async with JudgeClient("http://judge", transport=service.transport) as client:
        return await collect(client, _askings(), OPTIONS, store, (told if told is not None else list[int]()).append)


async def test_everything_is_asked_past_the_cache_and_of_one_judge(tmp_path: Path) -> None:
    service, told = Service(), list[int]()
    found = await _collected(service, tmp_path / "answers.jsonl", told)
    assert found.by_key.keys() == {one.key for one in _askings()}
    assert {(body["cache"], body["expect_judge"]) for body in service.bodies} == {("bypass", FINGERPRINT)}
    assert (told[0], sum(told)) == (0, len(_askings())) and not found.missing


async def test_equal_questions_have_other_neighbours(tmp_path: Path) -> None:
    service = Service()
    await _collected(service, tmp_path / "answers.jsonl")
    items = [item for body in service.bodies for item in body["items"]]
    asked = [json.dumps({**item, "id": ""}, sort_keys=True) for item in items]
    again = asked[-4:]
    assert len(set(again)) == 4 and all(asked[:-4].count(one) == 1 for one in again)
    before = [one for one in asked[:-4] if one in again]
    assert [asked.index(one) + 1 == asked.index(other) for one, other in pairwise(before)] != [True] * 3


async def test_an_interrupted_audit_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "answers.jsonl"
    whole = await _collected(Service(), store)
    lines = store.read_text().splitlines(keepends=True)
    store.write_text("".join(lines[:10]) + lines[10][:20])  # killed while it wrote the eleventh
    service = Service()
    again = await _collected(service, store)
    assert again.by_key == whole.by_key and again.earlier == 10
    assert sum(len(body["items"]) for body in service.bodies) == len(lines) - 10
    assert len(store.read_text().splitlines()) == len(lines)


async def test_answers_of_another_judge_are_not_used(tmp_path: Path) -> None:
    store = tmp_path / "answers.jsonl"
    await _collected(Service(), store)
    store.write_text(store.read_text().replace(FINGERPRINT, "another"))
    assert (await _collected(Service(), store)).earlier == 0


async def test_what_was_not_judged_is_missing_and_asked_again(tmp_path: Path) -> None:
    def abstaining(body: dict[str, Any]) -> httpx.Response:
        whole = scores(body)
        for result in whole["results"]:
            result["criteria"][0].update(status="abstained", met=None, p=None, p_raw=None)
        return answered(whole)

    store = tmp_path / "answers.jsonl"
    found = await _collected(Service(abstaining), store)
    assert found.missing == {"abstained": len(_askings())}
    asked = {one.key: one.item.rubric.criteria for one in _askings() if one.item.rubric}
    assert all(len(answer) == len(asked[key]) - 1 for key, answer in found.by_key.items())
    assert store.read_text() == ""


async def test_a_judge_that_refuses_everything_gives_no_answer_and_an_error(tmp_path: Path) -> None:
    service = Service(lambda body: problem("unprocessable", 422))
    found = await _collected(service, tmp_path / "answers.jsonl")
    assert found.by_key == {} and found.first_error is not None
    assert found.missing == {found.first_error.code: len(_askings())}


async def test_another_file_is_named_and_left_alone(tmp_path: Path) -> None:
    store = tmp_path / "answers.jsonl"
    store.write_text('{"index": 0}\n')
    with pytest.raises(DataError, match=r"answers.jsonl, line 1: holds no answer of an audit; name another folder"):
        await _collected(Service(), store)
    assert store.read_text() == '{"index": 0}\n'


async def test_levels_are_kept_and_a_value_that_a_rule_decided_is_not_asked_about_again(tmp_path: Path) -> None:
    def said(body: Any) -> httpx.Response:
        found = scores(body)
        for result in found["results"]:
            result["criteria"][0] |= {"level": 1, "p": 0.4, "met": False}
            result["criteria"][1] |= {"p": None, "p_raw": None, "extracted": "4"}
        return answered(found)

    store = tmp_path / "answers.jsonl"
    first = await _collected(Service(said), store)
    levels = [[one.level for one in answer.values()] for answer in first.by_key.values()]
    assert levels and all(own[0] == 1 and set(own[1:]) <= {None} for own in levels) and not first.missing
    service = Service()
    again = await _collected(service, store)
    assert again.by_key == first.by_key and not service.bodies

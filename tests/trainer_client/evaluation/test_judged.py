"""Results of a judge on answers: kept, found again, asked once, and never invented."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, expected_score, items, problem, scores
from trainer_client import wire
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.errors import JudgeMismatch
from trainer_client.evaluation.judged import Judged, JudgedLog, judge_answers

Json = dict[str, Any]


async def judged(
    service: Service,
    count: int,
    log: Path,
    told: list[int] | None = None,
    wait_s: float = 1800.0,
    threshold: float = 0.5,
) -> list[Judged]:
    some = [wire.Item.model_validate(one) for one in items(count)]
    client = JudgeClient("http://judge", transport=service.transport)
    async with client:
        info = await client.judge()
        return await judge_answers(
            client,
            info.judges[0],
            info.limits,
            some,
            options=ScoreOptions(threshold=threshold),
            log=log,
            workers=3,
            progress=(told if told is not None else []).append,
            wait_for_judge_s=wait_s,
        )


async def test_results_come_in_order_in_requests_that_fit_and_once(tmp_path: Path) -> None:
    service, told = Service(max_items=7, max_judgements=6), list[int]()
    found = await judged(service, 40, tmp_path / "log.jsonl", told)
    assert [one.score for one in found] == [expected_score(f"answer {n}") for n in range(40)]
    assert {len(one.met) for one in found} == {2} and all(one.why == () for one in found)
    assert max(len(body["items"]) for body in service.bodies) == 3 and sum(told) == 40
    assert {body["expect_judge"] for body in service.bodies} == {FINGERPRINT}
    again = Service()
    assert await judged(again, 40, tmp_path / "log.jsonl") == found
    assert again.bodies == []
    others = Service()
    await judged(others, 40, tmp_path / "log.jsonl", threshold=0.25)
    assert sum(len(body["items"]) for body in others.bodies) == 40, "other options are another question"


async def test_equal_answers_are_asked_once_and_all_have_the_result(tmp_path: Path) -> None:
    service, told = Service(), list[int]()
    one = wire.Item.model_validate(items(1)[0])
    async with JudgeClient("http://judge", transport=service.transport) as client:
        info = await client.judge()
        found = await judge_answers(
            client,
            info.judges[0],
            info.limits,
            [one.model_copy(update={"id": str(n)}) for n in range(5)],
            options={},
            log=tmp_path / "log.jsonl",
            workers=2,
            progress=told.append,
        )
    assert len(found) == 5 and len(set(map(repr, found))) == 1
    assert [len(body["items"]) for body in service.bodies] == [1] and sum(told) == 5


async def test_a_missing_verdict_stays_missing_and_may_come_later(tmp_path: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            status = {"answer 0": "too_long", "answer 1": "overloaded"}.get(item["response"])
            if status is not None:
                result.update(score=None, status="failed", coverage=0.5)
                result["criteria"][0].update(status=status, met=None, p=None)
        return answered(whole)

    found = await judged(Service(answer), 3, tmp_path / "log.jsonl", wait_s=0.05)
    assert [one.score for one in found[:2]] == [None, None]
    assert (found[0].met[0], found[0].why, found[1].why) == (None, ("too_long",), ("overloaded",))
    again = Service()
    await judged(again, 3, tmp_path / "log.jsonl")
    assert [item["response"] for body in again.bodies for item in body["items"]] == ["answer 1"]


async def test_another_judge_in_the_middle_ends_it(tmp_path: Path) -> None:
    with pytest.raises(JudgeMismatch):
        await judged(Service(lambda body: problem("judge_mismatch", 409)), 3, tmp_path / "log.jsonl")


def test_what_may_come_later_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JudgedLog(path, "j") as log:
        log.keep("a", Judged(0.5, (True, None), ("abstained",)))
        log.keep("b", Judged(None, (None,), ("timeout",)))
    assert len(path.read_bytes().splitlines()) == 1
    with JudgedLog(path, "j") as log:
        assert log.find("a") == Judged(0.5, (True, None), ("abstained",)) and log.find("b") is None

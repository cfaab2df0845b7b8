"""A log is watched with judges that are asked once each question, also by a later process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from testkit.scripted_judge import Json, Service, answered, problem, scores, served
from tests.trainer_client.rollouts import made
from trainer_client.client import JudgeClient
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.rollouts import opened
from trainer_client.watch.health import Health, as_json
from trainer_client.watch.watching import Asked, Judges, Watcher

IDS, ANSWERS = ["a", "a", "b", "b"], ["one", "two", "three", "four"]


def _run(folder: Path, *steps: int) -> Path:
    for step in steps:
        made.write(folder, step, made.columns(step, IDS, [f"{one} {step}" for one in ANSWERS]))
    return folder


def _watched(
    log: Path, url: str, *, own: bool = False, others: Sequence[str] = (), told: list[tuple[int, int]] | None = None
) -> Health | None:
    async def watch() -> Health | None:
        async with JudgeClient(url) as one, JudgeClient((others or [url])[0]) as other:
            judges = Judges(Asked(one) if own else None, [Asked(other) for _ in others], 1.0)
            notes = [] if told is None else told
            watcher = Watcher(opened(log), log / "watch", judges, told=lambda done, of: notes.append((done, of)))
            return await watcher.update()

    return asyncio.run(watch())


def test_a_judge_is_asked_each_question_once(tmp_path: Path) -> None:
    service = Service()
    told: list[tuple[int, int]] = []
    with served(service) as url:
        first = _watched(_run(tmp_path, 1, 2), url, own=True, told=told)
        asked = sum(len(body["items"]) for body in service.bodies)
        assert first is not None and asked == 2 and told[-1] == (2, 2), "one rubric, two answers without content"
        again = _watched(tmp_path, url, own=True)
        assert sum(len(body["items"]) for body in service.bodies) == asked
        assert again is not None and again.findings == first.findings
    assert {body["cache"] for body in service.bodies} == {"bypass"}
    sent = [item["response"] for body in service.bodies for item in body["items"]]
    assert sorted(map(bool, sent)) == [False, True], "an empty answer and one about something else"


def test_criteria_that_an_answer_without_content_meets_are_found(tmp_path: Path) -> None:
    def kind(body: Json) -> Json:
        said = scores(body)
        for result, item in zip(said["results"], body["items"], strict=True):
            for one in result["criteria"]:
                one["met"], one["p"] = one["id"] == "tea" or not item["response"], 0.9
        return said

    with served(Service(lambda body: answered(kind(body)))) as url:
        found = _watched(_run(tmp_path, 1), url, own=True)
    assert found is not None and not found.is_well
    told = [(one.answer, one.criterion.id, one.p, one.action) for one in found.findings]
    assert told == [("empty", "tea", 0.9, "gate"), ("empty", "1", 0.9, "gate"), ("off_topic", "tea", 0.9, "gate")]


def test_another_judge_judges_the_rollouts_and_the_gap_is_what_it_says(tmp_path: Path) -> None:
    def stern(body: Json) -> Json:
        said = scores(body)
        for result in said["results"]:
            for one in result["criteria"]:
                one["met"], one["p"] = one["points"] < 0, 0.5
        return said

    _run(tmp_path, 1, 2, 3)
    with served(Service(lambda body: answered(stern(body)))) as url:
        found = _watched(tmp_path, url, others=[url])
        assert found is not None and found.sample is not None and found.sample.step.shape == (12,)
        with served(Service()) as same:
            agreed = _watched(tmp_path, same, others=[same])
    assert found.run["gap"].value is not None and found.run["gap"].value > 0.2
    assert as_json(found)["shadow"]["rollouts"] == 12
    # Both are `judge-1`: the second one's answers are those that were kept of the first.
    assert agreed is not None and agreed.run["gap"].value == found.run["gap"].value


def test_the_examiner_of_a_run_is_another_judge(tmp_path: Path) -> None:
    _run(tmp_path, 1, 2)
    for step in (1, 2):
        table = made.columns(step, IDS, ANSWERS)
        table["examiner/verdicts"] = [text.replace("true", "false") for text in table["verdicts"]]
        made.write(tmp_path, step, table, "held_out")
    with served(Service()) as url:
        found = _watched(tmp_path, url)
    assert found is not None and found.sample is not None and found.sample.step.shape == (8,)
    assert found.run["overclaim"].value is not None and found.exploitation is not None
    assert list(found.exploitation.step) == [2]


def test_a_log_that_grows_is_read_on_and_nothing_new_is_none(tmp_path: Path) -> None:
    async def watch() -> list[int | None]:
        watcher = Watcher(opened(_run(tmp_path, 1)), tmp_path / "watch")
        sizes = []
        for step in (2, None, 3):
            found = await watcher.update()
            sizes.append(None if found is None else int(found.table.step.shape[0]))
            if step is not None:
                _run(tmp_path, step)
        found = await watcher.update()
        return [*sizes, None if found is None else int(found.table.step.shape[0])]

    assert asyncio.run(watch()) == [4, 8, None, 12]


def test_a_judge_that_answers_nothing_is_an_error(tmp_path: Path) -> None:
    _run(tmp_path, 1)
    with served(Service(lambda body: problem("invalid_request", 422))) as url, pytest.raises(RubricdClientError):
        _watched(tmp_path, url, own=True)


def test_the_health_of_a_log_as_json_has_no_text_of_an_answer(tmp_path: Path) -> None:
    found = asyncio.run(Watcher(opened(_run(tmp_path, 1, 2)), tmp_path).update())
    assert found is not None
    told = as_json(found)
    assert (told["rollouts"], told["groups"], told["steps"], told["not_judged"]) == (8, 4, 2, 0)
    assert told["criteria"][0]["text"] == "Tells the user to drink tea." and told["well"] is True
    assert "three 1" not in str(told) and told["course"]["reward"][0][0] == 1
    with pytest.raises(DataError):
        opened(tmp_path / "none")

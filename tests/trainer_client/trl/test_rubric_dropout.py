"""Rewards by a part of the rubric, the same part for a whole group, with the full rubric's score beside them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from testkit.scripted_judge import Json, chance
from tests.trainer_client.trl.asking import Log, asked
from tests.trainer_client.trl.tiny import EVEN, GROUP, Recorder, configured, judged_by, rows
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.step_rubric import StepRubric, step_rubric
from trainer_client.reward_client import JudgeConfig
from trainer_client.trl.prompt_row import with_row
from trainer_client.trl.trainer import JudgeReward, build

HALF = RubricDropout(0.5, keep=2, seed=3)
ROWS = rows(2, criteria=7)


def _score(answer: str, criteria: list[Json]) -> float:
    """By hand: the points of what this answer meets, over the positive ones."""
    gained = sum(one["points"] for one in criteria if chance(answer, one["text"]) >= 0.5)
    return float(gained / sum(one["points"] for one in criteria if one["points"] > 0))


def _rubric(n: int, step: int) -> StepRubric:
    rubric = ROWS[n].rubric
    assert rubric is not None
    return step_rubric(rubric.criteria, HALF, row=ROWS[n].id, step=step)


def _dumped(criteria: Any) -> list[Json]:
    return [one.model_dump(mode="json") for one in criteria]


def test_a_group_is_rewarded_by_one_part_of_its_rubric(tmp_path: Path, policy: str) -> None:
    """The judge is asked about both; the advantages follow the part, and the table has both, and what was shown."""
    seen = Recorder()
    with judged_by(by_criteria=True) as (judging, service):
        config = configured(tmp_path, log_completions=True, steps=2)
        trainer = build(
            policy, [*ROWS, *ROWS], judging=judging, config=config, scaffold=EVEN, dropout=HALF, pipeline_parts=2
        )
        seen.watch(trainer).train()
    for step in (1, 2):
        table = pq.read_table(tmp_path / "completions" / f"completions_{step:05d}.parquet").to_pydict()
        assert table["row"] == ["row-0"] * GROUP + ["row-1"] * GROUP
        for place, answer in enumerate(table["answer"]):
            now = _rubric(place // GROUP, step)
            assert len(now.dropped) == 3 and json.loads(table["dropped"][place]) == now.dropped
            assert table["score"][place] == pytest.approx(_score(answer, _dumped(now.counted)))
            assert table["full_score"][place] == pytest.approx(_score(answer, _dumped(now.criteria)))
            assert list(json.loads(table["criteria"][place])) == [f"c{n}" for n in range(7)]
            assert not {now.criteria[n].id for n in json.loads(table["revealed"][place])} & set(now.dropped)
        assert len(json.loads(table["revealed"][0])) == 4, "the first member sees all that counts"
        rewards = torch.tensor(table["score"]).view(-1, GROUP)
        wanted = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        assert table["advantage"] == pytest.approx(wanted.flatten().tolist(), abs=1e-3)
    assert _rubric(0, 1).dropped != _rubric(0, 2).dropped or _rubric(1, 1).dropped != _rubric(1, 2).dropped
    sizes = [len(item["rubric"]["criteria"]) for body in service.bodies for item in body["items"]]
    assert sizes == [4, 7] * 4 and trainer.state.log_history[0]["rubric/dropped_share"] == pytest.approx(3 / 7)


def _told(judging: JudgeConfig, answers: list[str], now: list[StepRubric | None]) -> tuple[list[Any], Log]:
    judge, log = JudgeReward(judging), Log()
    prompts = [with_row(ROWS[0])] * len(answers)
    tickets = judge.begin(prompts, answers, now)
    return asked(judge, [ROWS[0]] * len(answers), answers, log=log, ticket=tickets), log


def test_a_full_rubric_that_could_not_be_judged_takes_no_reward_and_makes_none() -> None:
    now = _rubric(0, 1)
    with judged_by() as (judging, service):
        plain = service.answer

        def answer(body: Json) -> Any:
            whole = plain(body)
            told = whole.json()
            for item, result in zip(body["items"], told["results"], strict=True):
                if len(item["rubric"]["criteria"]) == 7:
                    result |= {"score": None, "status": "partial"}
            return type(whole)(200, json=told, headers={"x-request-id": "req-1"})

        service.answer = answer
        rewards, log = _told(judging, ["a"], [now])
    assert rewards[0] is not None and log.columns["score"] == rewards and log.columns["full_score"] == [None]
    assert "reward/full_rubric" not in log.metrics and log.metrics["rubric/dropped_share"] == [pytest.approx(3 / 7)]


def test_a_rubric_of_which_nothing_can_be_left_out_is_asked_about_once() -> None:
    now = StepRubric(_rubric(0, 1).criteria, tuple(range(7)), own=7)
    with judged_by(by_criteria=True) as (judging, service):
        rewards, log = _told(judging, ["a", "b"], [now, now])
    assert [len(item["rubric"]["criteria"]) for body in service.bodies for item in body["items"]] == [7]
    assert log.columns["full_score"] == rewards == log.metrics["reward/full_rubric"]
    assert log.columns["dropped"] == ["[]", "[]"]

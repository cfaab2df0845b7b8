"""Real verl classes: a group's reward is by one part of its rubric, which its scaffold shows, and validation by all;
and what is proposed from a group counts at its row's next step."""

import json
from pathlib import Path

import pytest

from testkit import scripted_judge
from testkit.chat_server import chat_server
from testkit.scripted_judge import Service
from tests.trainer_client.verl.contract.world import World, config, criteria, rows, written
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolution
from trainer_client.live_rubrics.step_rubric import StepRubric, step_rubric
from trainer_client.verl.evolving import VerlEvolving
from trainer_client.verl.rows import TOOL_AGENT, to_parquet

LESS = RubricDropout(0.5, keep=2, protect=("3",), seed=5)


@pytest.fixture
def folder(tmp_path: Path, judge: Service) -> Path:
    written(tmp_path)
    return tmp_path


def _rubric(n: int, step: int) -> StepRubric:
    row = rows()[n]
    return step_rubric(criteria(row), LESS, row=row.id, step=step)


async def test_a_group_is_rewarded_by_one_part_and_shown_no_other(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder, dropout=LESS), monkeypatch)
    uids = await world.roll_out(step=4)
    asked = {body["items"][0]["response"]: body["items"] for body in judge.bodies}
    assert len(asked) == 16 and all(len(items) == 2 for items in asked.values())
    for n, uid in enumerate(uids):
        now = _rubric(n, 4)
        assert len(now.dropped) == 4 and "3" not in now.dropped
        for member in range(8):
            ids = world.store.field(uid, member, "responses")
            answer = world.tokenizer.decode(ids, skip_special_tokens=True)
            part, whole = (item["rubric"]["criteria"] for item in asked[answer])
            assert [one["id"] for one in part] == [one.id for one in now.counted]
            assert [one["text"] for one in whole] == [one.text for one in now.criteria]
            expected = scripted_judge.result("0", answer, part)["score"]
            assert world.store.field(uid, member, "rm_scores")[-1] == pytest.approx(expected)
            told = world.store.field(uid, member, "extra_fields")
            by_all = scripted_judge.result("0", answer, whole)["score"]
            assert told["reward_extra_info"]["full_score"] == pytest.approx(by_all)
            assert told["reward_extra_info"]["dropped_share"] == pytest.approx(4 / 7)
            prompt = world.tokenizer.decode(world.generated_from(ids))
            shown = {place for place in range(7) if f"- Point {place} of" in prompt}
            assert shown <= set(now.kept) and (member > 0 or shown == set(now.kept))


async def test_validation_is_by_the_whole_rubric(folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder, dropout=LESS), monkeypatch)
    (uid,) = await world.roll_out("val")
    assert [len(item["rubric"]["criteria"]) for body in judge.bodies for item in body["items"]] == [7]
    told = world.store.field(uid, 0, "extra_fields")["reward_extra_info"]
    assert told["full_score"] == told["score"] and told["dropped_share"] == 0.0


async def test_rollouts_with_tools_are_rewarded_by_the_same_part(
    tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    to_parquet(rows(), tmp_path / "train.parquet", split="train", agent=TOOL_AGENT)
    world = World(config(tmp_path, dropout=LESS, group=2, response_tokens=400), monkeypatch)
    await world.roll_out(step=9)
    asked = sorted([one["id"] for one in body["items"][0]["rubric"]["criteria"]] for body in judge.bodies)
    assert asked == sorted([one.id for one in _rubric(n, 9).counted] for n in (0, 0, 1, 1))


async def test_evolved_criteria_count_at_the_next_step_and_are_shown_to_nobody(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"criteria": [{"text": "Asks back in some way.", "kind": "positive"}]}
    with chat_server(lambda asked: json.dumps(told)) as server:
        evolving = VerlEvolving(str(folder / "live"), server.url, "writer", evolution=Evolution(promote=0.0))
        for step in (1, 2):
            world = World(config(folder, dropout=LESS, evolving=evolving), monkeypatch)
            judge.bodies.clear()
            uids = await world.roll_out(step=step)
            counted = [len(body["items"][0]["rubric"]["criteria"]) for body in judge.bodies]
            assert counted == [3] * 16 if step == 1 else counted == [4] * 16
        assert len(server.asked) == 4, "each of two rows at each of two steps"
    extra = [world.store.field(uid, member, "extra_fields") for uid in uids for member in range(8)]
    assert all(one["reward_extra_info"]["evolved"] == 1.0 for one in extra)
    assert not any("Asks back" in world.tokenizer.decode(one["prompt_ids"]) for one in world.server.asked)

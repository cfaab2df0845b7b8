"""Real verl classes: the way from a finished rollout to its reward, and what becomes of one that has none."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transfer_queue
from verl.trainer.config.algorithm import AlgoConfig
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage, compute_grpo_outcome_advantage
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.v1 import PPOTrainer, replay_buffer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from testkit import scripted_judge
from testkit.scripted_judge import Service
from tests.trainer_client.verl.contract.world import World, config, criteria, rows, written
from trainer_client import wire
from trainer_client.verl import sampler as verl_sampler
from trainer_client.verl.agent_loop import check_trainer

ANSWER_KEYS = {"answer_empty", "reasoning_unfinished"}
REVEALED_KEYS = {"revealed_share", "revealed", "full_score", "dropped_share", "evolved"}
KEYS = {"score", "judged", "coverage", "met_share", *ANSWER_KEYS, "judge_latency_s", *REVEALED_KEYS}


@pytest.fixture
def folder(tmp_path: Path, judge: Service) -> Path:
    written(tmp_path)
    return tmp_path


async def test_the_reward_is_the_judges_score_for_the_bare_prompt(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    assert len(judge.bodies) == 16
    by_response = {item["response"]: item for body in judge.bodies for item in body["items"]}
    for uid, row in zip(uids, rows(), strict=True):
        for member in range(8):
            answer = world.tokenizer.decode(world.store.field(uid, member, "responses"), skip_special_tokens=True)
            item = by_response[answer]
            assert item["prompt"] == list(row.messages)
            assert item.get("reference") == row.reference
            assert [one["text"] for one in item["rubric"]["criteria"]] == [one.text for one in criteria(row)]
            expected = scripted_judge.result("0", answer, item["rubric"]["criteria"])["score"]
            scores = world.store.field(uid, member, "rm_scores")
            assert scores[-1] == pytest.approx(expected)
            assert set(scores[:-1]) == {0.0}


async def test_every_sample_has_the_same_keys(folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    (val,) = await world.roll_out("val")
    told = [world.store.field(uid, member, "extra_fields") for uid in uids for member in range(8)]
    told.append(world.store.field(val, 0, "extra_fields"))
    assert all(set(one["reward_extra_info"]) == KEYS for one in told)
    assert [one["reward_extra_info"]["revealed_share"] for one in told] == [one["revealed_share"] for one in told]
    sources, names = ["made-up"] * len(told), [str(n // 8) for n in range(len(told))]
    infos = {key: [one["reward_extra_info"][key] for one in told] for key in KEYS}
    assert set(process_validation_metrics(sources, names, infos)["made-up"]) == KEYS


async def test_options_reach_the_judge(folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_KEY", "key-of-the-team")
    world = World(config(folder, options={"aggregation": "rar_explicit", "soft": True}), monkeypatch)
    await world.roll_out()
    assert {(body["aggregation"], body["soft"], body["priority"]) for body in judge.bodies} == {
        ("rar_explicit", True, "train")
    }
    assert {one.headers["authorization"] for one in judge.requests} == {"Bearer key-of-the-team"}


def _buffer(world: World, monkeypatch: pytest.MonkeyPatch, kind: type[ReplayBuffer] | None = None) -> ReplayBuffer:
    """The sampler that verl's trainer builds from our settings, or another kind of it."""
    monkeypatch.setattr(replay_buffer, "tq", world.store)
    monkeypatch.setattr(transfer_queue, "kv_clear", world.store.kv_clear)
    trainer = SimpleNamespace(config=world.config, trainer_mode="sync", _add_prompts_to_generate=lambda count: None)
    if kind is not None:
        world.config.trainer.v1.sampler.custom_sampler.name = None
        trainer.trainer_mode = "sync" if kind is ReplayBuffer else "colocate_async"
        trainer._resolve_filter_groups_metric = lambda: None
    buffer: ReplayBuffer = PPOTrainer._build_replay_buffer(trainer)
    assert type(buffer) is (kind or verl_sampler.PairedGroups)
    return buffer


def _failing_for(text: str) -> scripted_judge.Answer:
    """Refuses the answers whose text holds it, for good."""

    def answer(body: scripted_judge.Json) -> Any:
        refused = any(text in item["response"] for item in body["items"])
        return (
            scripted_judge.problem("invalid_request", 422)
            if refused
            else scripted_judge.answered(scripted_judge.scores(body))
        )

    return answer


async def test_a_rollout_that_was_not_judged_leaves_its_group_and_the_others_stay(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge.answer = _failing_for("(3)")
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    assert len(world.store.rollouts()) == 15
    statuses = sorted(world.store.tags["train"][uid]["status"] for uid in uids)
    assert statuses == ["failure", "finished"]
    assert "no reward: the judge gave no answer (invalid_request" in caplog.text
    batch, _ = _buffer(world, monkeypatch).sample(global_steps=1, partition_id="train", batch_size=2)
    assert len(batch.keys) == 15


async def test_a_dead_judge_ends_the_synchronous_training(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge.answer = lambda body: scripted_judge.problem("unauthorized", 401)
    world = World(config(folder), monkeypatch)
    await world.roll_out()
    assert world.store.rollouts() == []
    buffer = _buffer(world, monkeypatch)
    with pytest.raises(RuntimeError, match="no materializable trajectories"):
        buffer.sample(global_steps=1, partition_id="train", batch_size=2)


async def test_asynchronous_trainers_drop_the_whole_group(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge.answer = _failing_for("(3)")
    world = World(config(folder), monkeypatch)
    await world.roll_out()
    buffer = _buffer(world, monkeypatch, ReplayBufferAsync)
    batch, metrics = buffer.sample(global_steps=1, partition_id="train", batch_size=1)
    assert len(batch.keys) == 8
    assert metrics["training/rollout_failure/evicted_samples"] == 1


@pytest.mark.parametrize("kept", [1, 2])
async def test_the_only_one_left_of_a_group_is_not_trained_on(
    kept: int, folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    failed = [f"{uids[0]}_{member}_0" for member in range(kept, 8)]
    world.store.kv_clear("train", failed)
    world.store.tags["train"][uids[0]]["status"] = "failure"
    batch, _ = _buffer(world, monkeypatch).sample(global_steps=1, partition_id="train", batch_size=2)
    own = [key for key in batch.keys if key.startswith(uids[0])]
    assert len(own) == (0 if kept == 1 else 2)
    assert len(batch.keys) == len(batch.tags) == 8 + len(own)
    assert {key for key in world.store.fields if key.startswith(uids[0])} == set(own)


def test_verl_gives_the_only_one_left_of_a_group_its_score_as_its_advantage() -> None:
    """What docs/guide/verl.md warns of: with one rollout left there is no baseline, and the advantage is not 0."""
    scores = torch.tensor([[0.0, 0.6], [0.0, 0.2], [0.0, 0.8]])
    mask, groups = torch.ones(3, 2), np.array(["alone", "pair", "pair"])
    advantages, _ = compute_grpo_outcome_advantage(scores, mask, groups)
    assert advantages[0].tolist() == pytest.approx([0.6, 0.6], abs=1e-4)
    assert advantages[1:].sum().item() == pytest.approx(0.0, abs=1e-5)


async def test_a_step_of_which_no_group_has_two_ends_the_training(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    world.store.kv_clear("train", [f"{uid}_{member}_0" for uid in uids for member in range(1, 8)])
    with pytest.raises(RuntimeError, match="no group has two rollouts with a reward"):
        _buffer(world, monkeypatch).sample(global_steps=1, partition_id="train", batch_size=2)


async def test_validation_keeps_what_is_alone(folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder), monkeypatch)
    (uid,) = await world.roll_out("val")
    batch, _ = _buffer(world, monkeypatch).sample(global_steps=1, partition_id="val", batch_size=1)
    assert batch.keys == [f"{uid}_0_0"]


PARTS = ["axis:even", "axis:odd", "axis:none"]


async def test_gdpo_normalises_the_parts_that_the_reward_gives(
    folder: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through verl's reward worker and its own estimator; the last part is of no row, and moves nothing."""
    tagged = [
        replace(row, rubric=wire.Rubric(criteria=[_tagged(one, n) for n, one in enumerate(criteria(row))]))
        for row in rows()
    ]
    written(folder, train=tagged)
    options = [f"+reward.custom_reward_function.reward_kwargs.{one}" for one in ("rewards_by=tag", f"parts={PARTS}")]
    world = World(config(folder, *options), monkeypatch)
    uids = await world.roll_out()
    told = [world.store.field(uid, member, "extra_fields")["reward_extra_info"] for uid in uids for member in range(8)]
    keys = [f"reward/{name}" for name in PARTS]
    parts = {key: np.array([one[key] for one in told]) for key in keys}
    mask, groups = torch.ones(16, 1), np.repeat(uids, 8)
    batch = {"prompts": torch.ones(16, 1), "attention_mask": torch.ones(16, 2, dtype=torch.long)}
    scores = torch.tensor([[one["score"]] for one in told])
    config_of = AlgoConfig(adv_estimator="gdpo", gdpo_reward_keys=keys)
    found, _ = compute_gdpo_outcome_advantage(
        scores, mask, groups, config=config_of, non_tensor_batch=parts, batch=batch
    )
    wanted = torch.zeros(16)
    for key in keys[:2]:
        grouped = torch.tensor(parts[key], dtype=torch.float32).view(2, 8)
        wanted += ((grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-6)).flatten()
    assert set(parts[keys[2]]) == {0.0} and wanted.abs().max() > 0.5
    wanted = (wanted - wanted.mean()) / wanted.std()
    assert found[:, 0].tolist() == pytest.approx(wanted.tolist(), abs=1e-3)


def _tagged(criterion: wire.Criterion, place: int) -> wire.Criterion:
    return criterion.model_copy(update={"tags": {"axis": "odd" if place % 2 else "even"}})


def test_verls_v1_trainer_gives_its_advantages_no_parts(folder: Path) -> None:
    """Why GDPO is refused beside it. If this fails verl has changed, to the better."""
    source = inspect.getsource(PPOTrainer._compute_advantage)
    assert "extra_fields" not in source and "gdpo" not in source.lower()
    composed = config(folder)
    check_trainer(composed)
    composed.algorithm.adv_estimator = "gdpo"
    with pytest.raises(
        ValueError, match=r"set algorithm\.adv_estimator=grpo, or without a scaffold trainer.use_v1=False"
    ):
        check_trainer(composed)
    composed.trainer.use_v1 = False
    check_trainer(composed)


def test_verl_counts_a_failed_validation_rollout_as_wrong_under_the_name_acc_only() -> None:
    """Why `acc` is no key of ours: a rollout without a verdict would be entered there as 0."""
    assert "acc" not in KEYS
    expected = {("made-up", "a"): 2}
    told = process_validation_metrics(["made-up"], ["a"], {"score": [0.5]}, expected_acc_counts=expected)
    assert told["made-up"]["score"]["mean@1"] == 0.5
    told = process_validation_metrics(["made-up"], ["a"], {"acc": [1.0]}, expected_acc_counts=expected)
    assert told["made-up"]["acc"]["mean@2"] == 0.5

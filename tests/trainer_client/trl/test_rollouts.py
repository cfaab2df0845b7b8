"""The rollout function in a trainer: members, steps, evaluation, parts, room."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from testkit.waiting import HUNG_S
from tests.trainer_client.trl.quiet_trl import GRPOTrainer
from tests.trainer_client.trl.tiny import (
    GROUP,
    Recorder,
    configured,
    judged_by,
    rows,
    save_policy,
    texts,
    trained,
    word,
)
from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.trl.prompt_row import ROW, with_row
from trainer_client.trl.rollouts import Rollouts, _parts
from trainer_client.trl.trainer import JudgeConfig


def test_members_count_from_0_in_every_group(tmp_path: Path, policy: str, judging: JudgeConfig) -> None:
    seen = trained(tmp_path, policy, judging, count=4, config=configured(tmp_path, steps=2, mini_batch=1, per_device=2))
    assert [rollout["member"] for rollout in seen.rollouts] == [[0, 1, 2, 3] * 2] * 2
    assert [rollout["step"] for rollout in seen.rollouts] == [0, 2]  # optimiser steps, two a batch
    assert [rollout["revealed_share"] for rollout in seen.rollouts] == [[1, 2 / 3, 1 / 3, 0] * 2] * 2
    for rollout in seen.rollouts:
        longer = [len(a) > len(b) for a, b in zip(rollout["from"], rollout["bare"], strict=True)]
        assert longer == [True, True, True, False] * 2
        assert rollout["prompt_ids"] == rollout["bare"]
        ids = [json.loads(prompt[-1][ROW])["id"] for prompt in rollout["prompts"]]
        assert ids == [ids[0]] * 4 + [ids[4]] * 4 and ids[0] != ids[4]
    assert all(event.endswith("{'num_generations': 1}") for event in seen.events)


@pytest.mark.parametrize(("prompts", "iterations", "steps"), [(1, 1, [0, 1, 2]), (2, 1, [0, 2, 4]), (2, 2, [0, 4, 8])])
def test_the_schedule_counts_batches_whatever_their_updates(
    tmp_path: Path, policy: str, judging: JudgeConfig, prompts: int, iterations: int, steps: list[int]
) -> None:
    """Three batches of one, two or four updates: progress is 0, 1/2 and 1, and not the optimiser's."""
    falling = Scaffold(Schedule(over="linear"))
    sizes: dict[str, Any] = {"prompts_per_batch": prompts, "num_iterations": iterations}
    config = configured(tmp_path, steps=3, mini_batch=1, per_device=4, **sizes)
    seen = trained(tmp_path, policy, judging, count=3 * prompts, config=config, scaffold=falling)
    assert [rollout["step"] for rollout in seen.rollouts] == steps
    assert [rollout["revealed_share"][0] for rollout in seen.rollouts] == [1, 2 / 3, 0]  # round(3 x 0.5) is 2


@pytest.mark.parametrize("eval_generations", [1, 2])
def test_evaluation_is_bare(tmp_path: Path, policy: str, judging: JudgeConfig, eval_generations: int) -> None:
    config = configured(
        tmp_path,
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=2,
        num_generations_eval=eval_generations,
    )
    seen = trained(tmp_path, policy, judging, config=config, eval_rows=rows(4)[2:], pipeline_parts=4)
    evaluated = [rollout for rollout in seen.rollouts if not rollout["training"]]
    assert len(evaluated) == eval_generations
    for rollout in evaluated:
        assert rollout["from"] == rollout["bare"] == rollout["prompt_ids"]
        assert set(rollout["revealed_share"]) == {0.0} and set(rollout["revealed"]) == {"[]"}
        assert rollout["member"] == [n % eval_generations for n in range(2)]
    trainings = [rollout for rollout in seen.rollouts if rollout["training"]]
    assert trainings[0]["revealed_share"][0] == 1


def test_the_judge_has_a_part_while_the_next_is_generated(
    tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of four parts is not generated before the judge was asked for the first: without overlap this waits
    in vain."""
    asked = threading.Event()
    parts: list[int] = []
    in_vain: list[int] = []
    single = GRPOTrainer._generate_single_turn

    def generated(self: Any, ids: Any, *more: Any, **named: Any) -> Any:
        if parts and not asked.wait(HUNG_S):
            in_vain.append(len(parts))
        parts.append(len(ids))
        return single(self, ids, *more, **named)

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generated)

    def verdict(response: str) -> float:
        asked.set()
        return word(response)

    monkeypatch.setattr("trainer_client.trl.trainer.check_engine", lambda: None)
    with judged_by(verdict) as (judging, service):
        seen = trained(tmp_path, policy, judging, pipeline_parts=4, config=configured(tmp_path, per_device=8))
    assert parts == [2, 2, 2, 2] and in_vain == []
    (rollout,) = seen.rollouts
    assert rollout["member"] == [0, 1, 2, 3] * 2
    _advantages_follow(policy, rollout, seen)
    items = [item for body in service.bodies for item in body["items"]]
    asked_about = [(item["prompt"][0]["content"], answer) for item in items for answer in item["responses"]]
    made = zip(rollout["prompts"], texts(policy, rollout["completion_ids"]), strict=True)
    assert sorted(asked_about) == sorted((prompt[0]["content"], answer) for prompt, answer in made)


def _advantages_follow(policy: str, rollout: dict[str, Any], seen: Recorder) -> None:
    """Each completion's advantage in the loss is that of its own words."""
    rewards = torch.tensor([word(text) for text in texts(policy, rollout["completion_ids"])]).view(-1, GROUP)
    wanted = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    pairs = {
        (tuple(ids), round(float(one), 3)) for ids, one in zip(rollout["completion_ids"], wanted.flatten(), strict=True)
    }
    given = set()
    for part in (part for part in seen.losses if part["training"]):
        for ids, mask, one in zip(part["completion_ids"], part["completion_mask"], part["advantages"], strict=True):
            given.add((tuple(ids[mask.bool()].tolist()), round(float(one), 3)))
    assert given == pairs


def test_parts() -> None:
    assert [list(range(7))[part] for part in _parts(7, 3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert _parts(2, 5) == [slice(0, 1), slice(1, 2)]
    assert _parts(3, 1) == [slice(0, 3)]


def test_an_empty_answer_is_one_end_token(
    tmp_path: Path, policy: str, judging: JudgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = GRPOTrainer._generate_single_turn

    def generated(self: Any, ids: Any, images: Any, multimodal_fields: Any, num_generations: int) -> Any:
        made, logprobs = single(self, ids, images, multimodal_fields, num_generations=num_generations)
        return [[], *made[1:]], logprobs

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generated)
    monkeypatch.setattr("trainer_client.trl.trainer.check_engine", lambda: None)
    seen = trained(tmp_path, policy, judging)
    assert seen.rollouts[0]["completion_ids"][0] == [AutoTokenizer.from_pretrained(policy).eos_token_id]
    _advantages_follow(policy, seen.rollouts[0], seen)


def test_a_scaffold_never_takes_room_from_the_answer(tmp_path: Path, judging: JudgeConfig) -> None:
    longest = max(len(prompt) for prompt in _lengths(tmp_path, judging, context=512, tokens=None))
    cut = _lengths(tmp_path, judging, context=longest + 6 - 10, tokens=None)
    assert longest - 40 < max(map(len, cut)) <= longest - 10
    assert min(map(len, cut)) == min(map(len, _lengths(tmp_path, judging, context=512, tokens=0)))


def test_tokens_bound_a_scaffold(tmp_path: Path, judging: JudgeConfig) -> None:
    bare_ones = [len(ids) for ids in _lengths(tmp_path, judging, context=512, tokens=0)]
    whole = [len(ids) for ids in _lengths(tmp_path, judging, context=512, tokens=None)]
    cost = [a - b for a, b in zip(whole, bare_ones, strict=True)]
    for tokens in (max(cost), max(cost) - 1):
        added = [len(ids) for ids in _lengths(tmp_path, judging, context=512, tokens=tokens)]
        assert max(a - b for a, b in zip(added, bare_ones, strict=True)) <= tokens
        assert (added == whole) == (tokens == max(cost))


def _lengths(tmp_path: Path, judging: JudgeConfig, *, context: int, tokens: int | None) -> list[list[int]]:
    policy = save_policy(tmp_path / str(context), context=context)
    seen = trained(tmp_path / "out", policy, judging, tokens=tokens)
    prompts: list[list[int]] = seen.rollouts[0]["from"]
    return prompts


def test_a_prompt_without_room_for_an_answer_is_refused_by_name(tmp_path: Path, judging: JudgeConfig) -> None:
    policy = save_policy(tmp_path / "policy", context=20)
    with pytest.raises(ValueError, match=r"row row-0: its prompt has \d+ tokens and an answer may have 6, but the con"):
        trained(tmp_path / "out", policy, judging)


def test_the_share_is_of_the_criteria_that_count(policy: str) -> None:
    criteria = [wire.Criterion(text="Says a.", points=1.0), wire.Criterion(text="Is b.", points=0.0)]
    row = Row("r", ({"role": "user", "content": "a"},), wire.Rubric(criteria=criteria), None, "made-up")
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True, config=SimpleNamespace(max_position_embeddings=4096)),
        args=SimpleNamespace(
            use_vllm=False, max_completion_length=8, steps_per_generation=2, gradient_accumulation_steps=2
        ),
        state=SimpleNamespace(global_step=0, max_steps=10),
        accelerator=SimpleNamespace(process_index=0),
        num_generations=2,
        num_iterations=1,
        processing_class=AutoTokenizer.from_pretrained(policy),
        eos_token_ids=[1],
        _generate_single_turn=lambda ids, *_, **__: ([[1]] * len(ids), None),
    )
    told = Rollouts(Scaffold(Schedule(over="constant")))([with_row(row)] * 2, trainer)
    assert told["revealed_share"] == [1.0, 0.0] and told["revealed"] == ["[0]", "[]"]
    assert told["completion_ids"] == [[1], [1]] and told["logprobs"] is None

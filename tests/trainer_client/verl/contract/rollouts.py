"""Real verl classes: what a rollout is generated from, what the trainer gets, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.trainer.ppo.v1 import trainer_base
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer import continuous_token, deepseek
from verl.utils.tokenizer.continuous_token import ContinuousTokenBuilder

from testkit.scripted_judge import Service
from tests.trainer_client.verl.contract.world import STEPS, World, config, criteria, rows, written
from trainer_client.data.rows import Row
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.verl.agent_loop import ScaffoldAgentLoop, total_steps

LINEAR = Scaffold(Schedule(over="linear"))


@pytest.fixture
def folder(tmp_path: Path, judge: Service) -> Path:
    written(tmp_path)
    return tmp_path


async def test_each_member_is_generated_from_its_own_scaffold_and_trained_on_the_bare_prompt(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder), monkeypatch)
    uids = await world.roll_out()
    assert world.store.rollouts() == sorted((uid, member) for uid in uids for member in range(8))
    for uid, row in zip(uids, rows(), strict=True):
        for member in range(8):
            prompt = world.store.field(uid, member, "prompts")
            answer = world.store.field(uid, member, "responses")
            assert prompt == world.bare(row)
            assert world.store.field(uid, member, "input_ids") == [*prompt, *answer]
            assert world.store.field(uid, member, "response_mask") == [1] * len(answer)
            told = world.tokenizer.decode(world.generated_from(answer))
            revealed = Scaffold().reveal(criteria(row), row=row.id, member=member, group=8, step=1, total=STEPS)
            assert len(revealed) == 7 - member
            points = [f"- Point {place} of {row.id.replace('-', ' ')}." for place in sorted(revealed)]
            assert [line.split(" (")[0] for line in told.splitlines() if line.startswith("- ")] == points
            extra = world.store.field(uid, member, "extra_fields")
            assert (extra["revealed"], extra["criteria"], extra["revealed_share"]) == (7 - member, 7, (7 - member) / 7)
            assert (extra["min_global_steps"], extra["max_global_steps"]) == (1, 1)


async def test_nothing_of_the_sampler_reaches_the_trainer_where_the_prompts_differ(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder), monkeypatch)
    uid, _ = await world.roll_out()
    assert not {"rollout_log_probs", "routed_experts"} & set(world.store.fields[f"{uid}_0_0"].keys())
    assert all(one["sampling_params"]["logprobs"] is False for one in world.server.asked)


@pytest.mark.parametrize(
    ("step", "counts"), [(1, [7, 6, 5, 4, 3, 2, 1, 0]), (50, [4, 3, 3, 2, 2, 1, 1, 0]), (STEPS, [0] * 8)]
)
async def test_the_step_is_verls_own(
    step: int, counts: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder, scaffold=LINEAR), monkeypatch)
    uid, _ = await world.roll_out(step=step)
    assert [world.store.field(uid, member, "extra_fields")["revealed"] for member in range(8)] == counts


async def test_the_same_step_shows_the_same_in_another_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for _ in range(2):
        world = World(config(folder), monkeypatch)
        uids = await world.roll_out(step=3)
        answers = [world.store.field(uid, member, "responses") for uid in uids for member in range(8)]
        seen.append([world.generated_from(answer) for answer in answers])
    assert seen[0] == seen[1]


async def test_validation_is_generated_from_the_bare_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder), monkeypatch)
    (uid,) = await world.roll_out("val", step=1)
    assert world.store.rollouts("val") == [(uid, 0)]
    (asked,) = world.server.asked
    assert asked["prompt_ids"] == world.bare(rows(1)[0])
    assert asked["sampling_params"]["temperature"] == 0
    assert world.store.field(uid, 0, "extra_fields")["revealed"] == 0


async def test_scaffold_over_scaffold_trains_on_what_was_generated_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(config(folder, ratio="scaffold/scaffold"), monkeypatch)
    uid, _ = await world.roll_out()
    for member in range(8):
        answer = world.store.field(uid, member, "responses")
        assert world.store.field(uid, member, "prompts") == world.generated_from(answer)
        assert world.store.field(uid, member, "rollout_log_probs") == [-0.5] * len(answer)
    assert world.store.field(uid, 0, "prompts") != world.bare(rows()[0])


async def test_bare_over_scaffold_has_the_samplers_log_probabilities_as_the_old_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By verl's own trainer, which in this mode calculates none."""
    world = World(config(folder, ratio="bare/scaffold"), monkeypatch)
    uid, _ = await world.roll_out()
    for member in range(8):
        answer = world.store.field(uid, member, "responses")
        assert world.store.field(uid, member, "prompts") == world.bare(rows()[0])
        assert world.store.field(uid, member, "rollout_log_probs") == [-0.5] * len(answer)
    assert world.generated_from(world.store.field(uid, 0, "responses")) != world.bare(rows()[0])
    kept: dict[str, Any] = {}
    queue = SimpleNamespace(
        kv_batch_get=lambda *, select_fields, **_: {name: f"the {name}" for name in select_fields},
        kv_batch_put=lambda *, fields, **_: kept.update(fields),
    )
    monkeypatch.setattr(trainer_base, "tq", queue)
    told = SimpleNamespace(keys=[], partition_id="train")
    trainer_base.PPOTrainer._compute_old_log_prob(SimpleNamespace(config=world.config), told, metrics={})
    assert kept == {"old_log_probs": "the rollout_log_probs"}


async def test_a_scaffold_that_does_not_fit_shows_less(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder, prompt_tokens=30, scaffold_tokens=160), monkeypatch)
    uid, _ = await world.roll_out()
    first = world.store.field(uid, 0, "extra_fields")
    assert 0 < first["revealed"] < 7
    assert first["revealed_share"] == first["revealed"] / 7
    lengths = [len(one["prompt_ids"]) for one in world.server.asked]
    assert 190 - 30 < max(lengths) <= 190
    drawn = Scaffold().reveal(criteria(rows()[0]), row="row-0", member=0, group=8, step=1, total=STEPS)
    told = world.tokenizer.decode(world.generated_from(world.store.field(uid, 0, "responses")))
    assert all((f"Point {place} of" in told) == (place in drawn[: first["revealed"]]) for place in range(7))


async def test_a_prompt_that_is_too_long_fails_and_is_never_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changes = ("data.filter_overlong_prompts=False", "actor_rollout_ref.rollout.prompt_length=10")
    world = World(config(folder, *changes), monkeypatch)
    uids = await world.roll_out()
    assert world.server.asked == []
    assert {world.store.tags["train"][uid]["status"] for uid in uids} == {"failure"}
    assert "row row-0: its prompt has 22 tokens, rollout.prompt_length is 10" in caplog.text


async def test_answers_end_at_the_response_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(config(folder, response_tokens=5), monkeypatch)
    uid, _ = await world.roll_out()
    assert [len(world.store.field(uid, member, "responses")) for member in range(8)] == [5] * 8
    assert world.store.field(uid, 0, "response_mask") == [1] * 5


async def test_a_row_without_a_rubric_is_shown_nothing(
    tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Row("alone", ({"role": "user", "content": "Hello?"},), None, None, "made-up")
    written(tmp_path, train=[bare])
    world = World(config(tmp_path), monkeypatch)
    await world.roll_out()
    assert {tuple(one["prompt_ids"]) for one in world.server.asked} == {tuple(world.bare(bare))}


def _loop(composed: Any, tokenizer: Any, **more: Any) -> ScaffoldAgentLoop:
    whole, data = DictConfigWrap(composed), DictConfigWrap(composed.data)
    return ScaffoldAgentLoop(whole, None, tokenizer, None, RLHFDataset, data, **more)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("actor_rollout_ref.rollout.calculate_log_probs", True),
        ("actor_rollout_ref.rollout.enable_rollout_routing_replay", True),
        ("algorithm.rollout_correction.rollout_is", "token"),
        ("algorithm.rollout_correction.rollout_rs", "token_k1"),
        ("algorithm.rollout_correction.bypass_mode", True),
    ],
)
def test_settings_that_would_break_the_ratio_are_refused_by_name(
    setting: str, value: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = config(folder)
    tokenizer = World(composed, monkeypatch).tokenizer
    _loop(composed, tokenizer)
    assert OmegaConf.select(composed, setting, throw_on_missing=True) in (None, False)
    OmegaConf.update(composed, setting, value)
    with pytest.raises(ValueError, match=rf"set {setting}=(null|False)$"):
        _loop(composed, tokenizer)


def test_bare_over_scaffold_needs_the_samplers_values(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = config(folder)
    tokenizer = World(composed, monkeypatch).tokenizer
    with pytest.raises(ValueError, match=r"for the old ones.*calculate_log_probs=True, .*bypass_mode=True$"):
        _loop(composed, tokenizer, ratio="bare/scaffold")
    with pytest.raises(ValueError, match="ratio is one of bare/bare, scaffold/scaffold, bare/scaffold, not 'bare'"):
        _loop(composed, tokenizer, ratio="bare")


@pytest.mark.parametrize("setting", ["algorithm.filter_groups.enable", "trainer.v1.sampler.sync_refill_failed_groups"])
def test_what_our_sampler_does_not_do_is_refused_by_name(
    setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = config(folder)
    tokenizer = World(composed, monkeypatch).tokenizer
    OmegaConf.update(composed, setting, True, force_add=True)
    with pytest.raises(ValueError, match=rf"set {setting}=False, or use verl's sampler"):
        _loop(composed, tokenizer)
    composed.trainer.v1.sampler.custom_sampler.path = None
    composed.trainer.v1.sampler.custom_sampler.name = None
    _loop(composed, tokenizer)


async def test_a_trainer_that_does_not_name_the_member_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = config(folder)
    world = World(composed, monkeypatch)
    loop = _loop(composed, world.tokenizer)
    sample = RLHFDataset(str(folder / "train.parquet"), tokenizer=world.tokenizer, config=composed.data)[0]
    with pytest.raises(ValueError, match=r"trainer\.use_v1=True"):
        await loop.run({}, **sample, global_steps=1)


def test_an_unknown_ratio_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = config(folder)
    with pytest.raises(ValueError, match="bare/scaffold"):
        _loop(composed, World(composed, monkeypatch).tokenizer, ratio="bare/scaffold")


def test_total_steps_are_the_trainers_and_else_the_optimizers(folder: Path) -> None:
    composed = config(folder, steps=70)
    assert total_steps(composed) == 70
    composed.trainer.total_training_steps = None
    assert total_steps(composed) == STEPS
    composed.trainer.v1.trainer_mode = "separate_async"
    assert total_steps(composed) == STEPS // 4
    composed.actor_rollout_ref.actor.optim.total_training_steps = -1
    with pytest.raises(ValueError, match=r"trainer\.total_training_steps"):
        total_steps(composed)


def test_no_builder_of_verls_edits_the_answer() -> None:
    """The agent loop takes the answer's ids as they came, which is what verl's own loop does as long as this holds."""
    kinds = [one for module in (continuous_token, deepseek) for one in vars(module).values() if isinstance(one, type)]
    builders: list[Any] = [one for one in kinds if issubclass(one, ContinuousTokenBuilder)]
    assert len(builders) > 10
    assert {one.merge_assistant_tokens for one in builders} == {ContinuousTokenBuilder.merge_assistant_tokens}

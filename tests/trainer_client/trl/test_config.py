"""The recipe's numbers as TRL's, and what may not be set."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.trl.tiny import QUIET
from trainer_client.trl.config import COMPUTED, FORCED, grpo_config


def config(tmp_path: Path, **changes: Any) -> Any:
    recipe = {"group": 8, "prompts_per_batch": 64, "mini_batch": 32, "per_device": 16, "steps": 350}
    return grpo_config(tmp_path, **{**recipe, **QUIET, **changes})


@pytest.mark.parametrize(("world", "accumulation"), [(1, 16), (4, 4)])
def test_the_papers_batch(tmp_path: Path, world: int, accumulation: int) -> None:
    """64 prompts of 8 rollouts in two updates of 32."""
    made = config(tmp_path, world=world, save_every=20)
    assert made.num_generations == 8
    assert made.gradient_accumulation_steps == accumulation
    assert made.steps_per_generation == 2 * accumulation
    assert made.max_steps == 700
    assert made.save_steps == 40
    assert made.per_device_train_batch_size * made.steps_per_generation * world == 64 * 8
    assert made.logging_steps == 2


def test_several_passes_over_a_batch(tmp_path: Path) -> None:
    made = config(tmp_path, num_iterations=3, save_every=5)
    assert (made.max_steps, made.save_steps, made.num_iterations) == (350 * 6, 30, 3)
    assert made.steps_per_generation == 2 * made.gradient_accumulation_steps


def test_the_papers_loss_and_what_may_be_changed(tmp_path: Path) -> None:
    made = config(tmp_path)
    assert (made.loss_type, made.epsilon, made.lr_scheduler_type) == ("dapo", 0.2, "constant")
    assert config(tmp_path, epsilon=0.1, learning_rate=5e-6).epsilon == 0.1
    assert made.output_dir == str(tmp_path)


@pytest.mark.parametrize("name", FORCED)
def test_what_would_change_the_algorithm_is_off_and_refused_by_name(tmp_path: Path, name: str) -> None:
    right, reason = FORCED[name]
    assert getattr(config(tmp_path), name) == right
    assert getattr(config(tmp_path, **{name: right}), name) == right
    with pytest.raises(ValueError, match=rf"trl\.{name} must be {right}: {reason[:20]}"):
        config(tmp_path, **{name: 2.0 if right is None else not right})


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_computed_is_refused_with_what_to_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"trl\.{name} is computed; set `{COMPUTED[name]}`"):
        config(tmp_path, **{name: 4})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mini_batch": 48}, r"prompts_per_batch \(64\) must be a multiple of mini_batch \(48\)"),
        ({"per_device": 24}, r"mini_batch x group \(256\) must be a multiple of per_device x processes \(24\)"),
        ({"world": 3}, r"mini_batch x group \(256\) must be a multiple of per_device x processes \(48\)"),
        ({"mini_batch": 0}, "at least 1"),
        ({"prompts_per_batch": 0, "mini_batch": 1}, "at least 1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **changes)

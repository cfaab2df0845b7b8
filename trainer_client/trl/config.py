"""Builds TRL's configuration for the papers' algorithm from the recipe's numbers, and refuses what would change it.

Guarantees: a setting that would silently change the algorithm is refused with the reason. The numbers of a batch fit
together, and a checkpoint is saved between two generations of rollouts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from trainer_client.trl.reporting import channels

FORCED: Mapping[str, tuple[object, str]] = {
    "vllm_importance_sampling_correction": (
        False,
        "it would multiply a scaffolded rollout by pi(bare)/pi(scaffolded), which is about 0, and train nothing",
    ),
    "use_bias_correction_kl": (False, "the paper's KL term is not weighted by the importance ratio"),
    "off_policy_mask_threshold": (None, "it would mask scaffolded rollouts, which are off-policy on purpose"),
    "shuffle_dataset": (False, "rows are in the order of training; another order could not be resumed exactly"),
    "remove_unused_columns": (False, "the reward function needs the columns"),
}
COMPUTED = {
    "num_generations": "group",
    "per_device_train_batch_size": "per_device",
    "gradient_accumulation_steps": "mini_batch",
    "steps_per_generation": "prompts_per_batch",
    "generation_batch_size": "prompts_per_batch",
    "max_steps": "steps",
    "num_train_epochs": "steps",
    "save_steps": "save_every",
    "output_dir": "out",
}
"""TRL settings that are computed here, and the field to set instead."""


def grpo_config(
    out: Path | str,
    *,
    group: int,
    prompts_per_batch: int,
    mini_batch: int,
    per_device: int,
    steps: int,
    world: int = 1,
    save_every: int = 50,
    **trl: Any,
) -> GRPOConfig:
    """Returns TRL's configuration for `steps` batches of `prompts_per_batch` prompts x `group` rollouts.

    Each batch is used in updates of `mini_batch` prompts, computed in passes of `per_device` rollouts on each of
    `world` processes; a checkpoint is saved every `save_every` batches. `trl` are further GRPOConfig settings. Raises
    ValueError with what to change.
    """
    _refuse(trl)
    updates = _whole(prompts_per_batch, mini_batch, "prompts_per_batch", "mini_batch")
    accumulation = _whole(mini_batch * group, per_device * world, "mini_batch x group", "per_device x processes")
    optimiser_steps = updates * int(trl.get("num_iterations", 1))
    settings: dict[str, Any] = {
        "loss_type": "dapo",
        "epsilon": 0.2,
        "lr_scheduler_type": "constant",
        "logging_steps": optimiser_steps,
        "log_completions": True,
        "num_completions_to_print": 0,
        "report_to": channels(),
        "bf16": _has_gpu(),
        "dataloader_pin_memory": _has_gpu(),
        "save_total_limit": 2,
    }
    settings |= trl
    settings |= {name: value for name, (value, _) in FORCED.items()}
    return GRPOConfig(
        output_dir=str(out),
        num_generations=group,
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * updates,
        max_steps=steps * optimiser_steps,
        save_steps=save_every * optimiser_steps,
        **settings,
    )


def _refuse(trl: Mapping[str, Any]) -> None:
    for name, value in trl.items():
        if name in COMPUTED:
            raise ValueError(f"trl.{name} is computed; set `{COMPUTED[name]}`")
        forced, reason = FORCED.get(name, (value, ""))
        if value != forced:
            raise ValueError(f"trl.{name} must be {forced}: {reason}")


def _whole(large: int, small: int, what: str, by: str) -> int:
    if min(large, small) < 1 or large % small:
        raise ValueError(f"{what} ({large}) must be a multiple of {by} ({small}), and both at least 1")
    return large // small


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()

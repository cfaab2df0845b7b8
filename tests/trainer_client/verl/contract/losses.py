"""The loss of a training in TRL is verl's, value and gradient: verl's own functions on the same batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import agg_loss, compute_policy_loss_vanilla, kl_penalty

from tests.trainer_client.trl.tiny import EVEN, Recorder, configured, judged_by, rows, save_policy
from trainer_client.training.presets import PRESETS
from trainer_client.trl.rubric_trainer import Kl
from trainer_client.trl.trainer import build

PAPER = PRESETS["ruscarl"].trl
TEMPERATURE, BETA = 0.7, 0.05


def _verls(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """By the settings of `trainer_client.verl.recipe`, with `kl_loss_coef` BETA."""
    mask, chosen = inputs["completion_mask"], inputs["completion_ids"]
    ids = torch.cat([inputs["prompt_ids"], chosen], dim=1)
    logits = model(input_ids=ids, attention_mask=torch.cat([inputs["prompt_mask"], mask], dim=1)).logits
    logits = logits[:, -chosen.size(1) - 1 : -1] / TEMPERATURE
    logps = torch.log_softmax(logits, -1).gather(-1, chosen[..., None])[..., 0]
    actor = OmegaConf.create(
        {
            "clip_ratio": 0.2,
            "clip_ratio_low": 0.2,
            "clip_ratio_high": 0.2,
            "clip_ratio_c": 3.0,
            "global_batch_info": {},
        }
    )
    advantages = inputs["advantages"][:, None].expand_as(logps)
    policy, _ = compute_policy_loss_vanilla(
        inputs["old_per_token_logps"], logps, advantages, mask, loss_agg_mode="token-mean", config=actor
    )
    kl = kl_penalty(logps, inputs["ref_per_token_logps"], "low_var_kl")
    found: torch.Tensor = policy + BETA * agg_loss(kl, mask, "token-mean")
    return found


def _batch(folder: Path, kl: Kl) -> tuple[Any, dict[str, torch.Tensor]]:
    """A batch with ratios beyond each clip, and a reference beyond each bound."""
    policy = save_policy(folder / "policy", dtype=torch.float64)
    settings = {"temperature": TEMPERATURE, "delta": PAPER["delta"], "epsilon": PAPER["epsilon"], "beta": BETA}
    config = configured(folder, learning_rate=0.0, model_init_kwargs={"dtype": "auto"}, **settings)
    seen = Recorder()
    with judged_by() as (judging, _):
        trainer = build(policy, rows(2), judging=judging, config=config, scaffold=EVEN, kl=kl)
        seen.watch(trainer).train()
    inputs = {name: one for name, one in seen.losses[0].items() if isinstance(one, torch.Tensor)}
    torch.manual_seed(0)
    first = inputs["ref_per_token_logps"]  # the policy has not moved
    inputs["old_per_token_logps"] = first + torch.empty_like(first).uniform_(-2, 2)
    inputs["ref_per_token_logps"] = first + torch.empty_like(first).uniform_(-30, 30)
    assert {-1.0, 1.0} <= set(inputs["advantages"].sign().tolist())
    trainer.model.train()
    return trainer, inputs


def _gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([one.grad.flatten() for one in model.parameters()])


def test_trl_and_verl_have_one_loss_on_one_batch(tmp_path: Path) -> None:
    trainer, inputs = _batch(tmp_path, "clamped")
    ours, theirs = trainer.compute_loss(trainer.model, inputs), _verls(trainer.model, inputs)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
    found, wanted = _gradient(trainer.model, ours), _gradient(trainer.model, theirs)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-6


def test_without_the_bounds_it_is_another(tmp_path: Path) -> None:
    trainer, inputs = _batch(tmp_path, "plain")
    assert float(trainer.compute_loss(trainer.model, inputs)) > 1e6 * float(_verls(trainer.model, inputs))

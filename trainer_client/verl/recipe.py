"""Writes verl's settings for rubric-scaffolded GRPO, and the file that names our agent loop. It has no side effects.

Guarantees: every setting that the algorithm depends on is written out, also where it is verl's default. A setting that
would break it is refused by the agent loop, not corrected silently.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainer_client import wire
from trainer_client.client import ScoreOptions
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.scaffold import Scaffold
from trainer_client.verl.evolving import VerlEvolving
from trainer_client.verl.reward import WhenMissing
from trainer_client.verl.rows import AGENT, TOOL_AGENT

_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z/][a-z0-9_./:-]*", re.IGNORECASE)
_LONGEST_MICRO_BATCH = 16384


def agent_loops(
    scaffold: Scaffold,
    *,
    ratio: str = "bare/bare",
    name: str = AGENT,
    dropout: RubricDropout | None = None,
    evolving: VerlEvolving | None = None,
) -> str:
    """The text of the file for `rollout.agent.agent_loop_config_path`: JSON, which is YAML. It names the scaffolded
    loop, as `name`, and the one with tools. `dropout` leaves criteria out of each group's reward, `evolving`
    adds those that are proposed from its answers; give it to `overrides` as well."""
    live: dict[str, Any] = {}
    if dropout is not None:
        live["dropout"] = {"_target_": "trainer_client.live_rubrics.dropout.RubricDropout", **asdict(dropout)}
    if evolving is not None:
        evolution = {"_target_": "trainer_client.live_rubrics.evolution.Evolution", **asdict(evolving.evolution)}
        told = {**asdict(evolving), "evolution": evolution}
        live["evolving"] = {"_target_": "trainer_client.verl.evolving.VerlEvolving", **told}
    fields = asdict(scaffold)
    loop = {
        "name": name,
        "_target_": "trainer_client.verl.agent_loop.ScaffoldAgentLoop",
        "ratio": ratio,
        **live,
        "scaffold": {
            **fields,
            "_target_": "trainer_client.scaffold.Scaffold",
            "schedule": {"_target_": "trainer_client.scaffold.Schedule", **fields["schedule"]},
            "wording": {"_target_": "trainer_client.scaffold.Wording", **fields["wording"]},
        },
    }
    tools = {"name": TOOL_AGENT, "_target_": "trainer_client.verl.tool_agent_loop.TurnsToolAgentLoop", **live}
    return json.dumps([loop, tools], indent=1, ensure_ascii=False) + "\n"


def overrides(
    policy: str,
    *,
    train: str | Path,
    val: str | Path,
    agents: str | Path,
    judge: str,
    steps: int,
    group: int = 8,
    prompts_per_batch: int = 64,
    mini_batch: int = 32,
    prompt_tokens: int = 4096,
    scaffold_tokens: int = 2048,
    response_tokens: int = 4096,
    temperature: float = 0.7,
    top_p: float = 0.8,
    top_k: int = 20,
    rate: float = 1e-6,
    gpus: int = 8,
    nodes: int = 1,
    tensor_parallel: int = 1,
    engine: str = "vllm",
    ratio: str = "bare/bare",
    workers: int = 8,
    concurrency: int = 8,
    judge_timeout_s: float = 600.0,
    when_missing: WhenMissing = "raise",
    reasoning: wire.Reasoning = "remove",
    options: ScoreOptions | None = None,
    evolving: VerlEvolving | None = None,
) -> list[str]:
    """Returns the arguments of `python -m verl.trainer.main_ppo`, verl 0.9. The defaults are RuscaRL's (2508.16949).

    A step is `prompts_per_batch` x `group` rollouts; `mini_batch` counts prompts. `prompt_tokens` bounds a prompt
    without its scaffold, `scaffold_tokens` the tokens that the scaffold may add. `workers` processes send requests to
    the judge, each `concurrency` at once; they read the key from the environment (RUBRICD_KEY).
    """
    settings: dict[str, Any] = {
        "data.train_files": str(train),
        "data.val_files": str(val),
        "data.train_batch_size": prompts_per_batch,
        "data.max_prompt_length": prompt_tokens,
        "data.max_response_length": response_tokens,
        "data.filter_overlong_prompts": True,
        "actor_rollout_ref.model.path": policy,
        **_algorithm(ratio, mini_batch, rate),
        **_rollout(ratio, str(agents), prompt_tokens + scaffold_tokens),
        "actor_rollout_ref.rollout.name": engine,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": tensor_parallel,
        "actor_rollout_ref.rollout.n": group,
        "actor_rollout_ref.rollout.temperature": temperature,
        "actor_rollout_ref.rollout.top_p": top_p,
        "actor_rollout_ref.rollout.top_k": top_k,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": max(
            _LONGEST_MICRO_BATCH, prompt_tokens + scaffold_tokens + response_tokens
        ),
        "reward.num_workers": workers,
        "reward.reward_manager.name": "naive",
        "reward.custom_reward_function.path": "pkg://trainer_client.verl.reward",
        "reward.custom_reward_function.name": "compute_score",
        **_reward(url=judge, judge_timeout_s=judge_timeout_s, concurrency=concurrency, when_missing=when_missing),
        **_reward(**_flat("reasoning", reasoning)),
        **_reward(**_flat("options", dict(options or {}))),
        **(_reward(**_flat("evolving", asdict(evolving))) if evolving else {}),
        "trainer.total_training_steps": steps,
        # The training ends at whichever comes first: an epoch has at least one step.
        "trainer.total_epochs": steps,
        "trainer.save_freq": 20,
        "trainer.test_freq": 5,
        "trainer.nnodes": nodes,
        "trainer.n_gpus_per_node": gpus,
        "trainer.logger": ["console", "tensorboard"],
        "trainer.project_name": "rubricd",
        "trainer.use_v1": True,
        "trainer.v1.trainer_mode": "sync",
        "trainer.v1.sampler.custom_sampler.path": "pkg://trainer_client.verl.sampler",
        "trainer.v1.sampler.custom_sampler.name": "PairedGroups",
    }
    return [f"{name}={_value(value)}" for name, value in settings.items()]


def _algorithm(ratio: str, mini_batch: int, rate: float) -> dict[str, Any]:
    actor = "actor_rollout_ref.actor"
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": True,
        "algorithm.use_kl_in_reward": False,
        "algorithm.rollout_correction.rollout_is": None,
        "algorithm.rollout_correction.rollout_rs": None,
        "algorithm.rollout_correction.bypass_mode": ratio == "bare/scaffold",
        f"{actor}.ppo_mini_batch_size": mini_batch,
        f"{actor}.ppo_epochs": 1,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.clip_ratio": 0.2,
        f"{actor}.clip_ratio_low": 0.2,
        f"{actor}.clip_ratio_high": 0.2,
        f"{actor}.clip_ratio_c": 3.0,
        f"{actor}.loss_agg_mode": "token-mean",
        f"{actor}.entropy_coeff": 0,
        f"{actor}.use_kl_loss": True,
        f"{actor}.kl_loss_coef": 0.001,
        f"{actor}.kl_loss_type": "low_var_kl",
        f"{actor}.optim.lr": rate,
        f"{actor}.optim.lr_scheduler_type": "constant",
        f"{actor}.optim.lr_warmup_steps_ratio": 0.0,
    }


def _rollout(ratio: str, agents: str, prompt: int) -> dict[str, Any]:
    rollout = "actor_rollout_ref.rollout"
    return {
        f"{rollout}.prompt_length": prompt,
        f"{rollout}.calculate_log_probs": ratio != "bare/bare",
        f"{rollout}.agent.agent_loop_config_path": agents,
        f"{rollout}.agent.default_agent_loop": AGENT,
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    """A name with dots for each value inside, as hydra adds them."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if not isinstance(value, Mapping):
        return {name: value}
    return {place: one for key, inner in value.items() for place, one in _flat(f"{name}.{key}", inner).items()}


def _reward(**kwargs: Any) -> Mapping[str, Any]:
    """verl's schema has no `reward_kwargs`; the plus adds it."""
    return {f"+reward.custom_reward_function.reward_kwargs.{name}": value for name, value in kwargs.items()}


def _value(value: Any) -> str:
    """The value as hydra's grammar of overrides reads it back."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value)
        case list():
            return f"[{','.join(map(_value, value))}]"
        case str() if not _PLAIN.fullmatch(value):
            # A backslash is itself, unless quotes follow: there it escapes, and must be doubled.
            escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
            return f"'{escaped}'"
        case _:
            return str(value)

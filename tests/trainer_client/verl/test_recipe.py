"""What verl is told. Composed with verl's own YAML in `contract/settings.py`; here the values alone, and what can
be imported where verl is not installed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer_client.scaffold import Scaffold, Schedule, Wording
from trainer_client.verl.recipe import agent_loops, overrides
from trainer_client.verl.rows import TOOL_AGENT

FILES: dict[str, Any] = {"train": "train.parquet", "val": "val.parquet", "agents": "agents.yaml", "judge": "http://j:1"}
# arXiv 2508.16949, table 3 and the authors' released script: what the paper's runs were trained with.
PAPER = {
    "data.train_batch_size": "64",
    "data.max_prompt_length": "4096",
    "data.max_response_length": "4096",
    "algorithm.adv_estimator": "grpo",
    "algorithm.norm_adv_by_std_in_grpo": "True",
    "algorithm.use_kl_in_reward": "False",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "32",
    "actor_rollout_ref.actor.use_kl_loss": "True",
    "actor_rollout_ref.actor.kl_loss_coef": "0.001",
    "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
    "actor_rollout_ref.actor.clip_ratio": "0.2",
    "actor_rollout_ref.actor.clip_ratio_low": "0.2",
    "actor_rollout_ref.actor.clip_ratio_high": "0.2",
    "actor_rollout_ref.actor.clip_ratio_c": "3.0",
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.actor.entropy_coeff": "0",
    "actor_rollout_ref.actor.optim.lr": "1e-06",
    "actor_rollout_ref.actor.optim.lr_scheduler_type": "constant",
    "actor_rollout_ref.rollout.n": "8",
    "actor_rollout_ref.rollout.temperature": "0.7",
    "actor_rollout_ref.rollout.top_p": "0.8",
    "actor_rollout_ref.rollout.top_k": "20",
    "trainer.save_freq": "20",
    "trainer.test_freq": "5",
    "trainer.total_training_steps": "350",
}


OLD_LOG_PROBS = ("actor_rollout_ref.rollout.calculate_log_probs", "algorithm.rollout_correction.bypass_mode")


def told(**more: Any) -> dict[str, str]:
    pairs = [one.split("=", 1) for one in overrides("Qwen/Qwen2.5-7B-Instruct", **{**FILES, "steps": 350, **more})]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_the_defaults_are_the_papers() -> None:
    assert {name: told()[name] for name in PAPER} == PAPER


def test_nothing_of_the_sampler_is_used_unless_it_saw_what_is_trained_on() -> None:
    off = {
        "actor_rollout_ref.rollout.calculate_log_probs": "False",
        "algorithm.rollout_correction.rollout_is": "null",
        "algorithm.rollout_correction.rollout_rs": "null",
        "algorithm.rollout_correction.bypass_mode": "False",
    }
    assert {name: told()[name] for name in off} == off
    for ratio, *wanted in (("bare/bare", "False", "False"), ("scaffold/scaffold", "True", "False")):
        assert [told(ratio=ratio)[name] for name in OLD_LOG_PROBS] == wanted
    assert [told(ratio="bare/scaffold")[name] for name in OLD_LOG_PROBS] == ["True", "True"]


def test_the_rollout_has_room_for_the_scaffold_and_the_micro_batch_for_the_whole() -> None:
    few = told(prompt_tokens=100, scaffold_tokens=50, response_tokens=30)
    assert few["data.max_prompt_length"] == "100"
    assert few["actor_rollout_ref.rollout.prompt_length"] == "150"
    assert few["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] == "16384"
    assert told(response_tokens=16000)["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] == "22144"


def test_the_epochs_never_end_the_training_before_its_steps() -> None:
    assert int(told(steps=900)["trainer.total_epochs"]) >= 900


def test_values_that_hydra_would_read_otherwise_are_quoted() -> None:
    odd = told(train="/a b/it's {x}.parquet", val="null", agents="1e5", judge="http://j:1/v?a=b")
    assert odd["data.train_files"] == r"'/a b/it\'s {x}.parquet'"
    assert odd["data.val_files"] == "'null'"
    assert odd["actor_rollout_ref.rollout.agent.agent_loop_config_path"] == "'1e5'"
    assert odd["+reward.custom_reward_function.reward_kwargs.url"] == "'http://j:1/v?a=b'"


def test_the_key_is_never_an_argument() -> None:
    assert not [one for one in told() if re.search(r"token|key", one.rsplit(".", 1)[1]) and "max_token" not in one]


def test_the_agents_file_says_the_whole_scaffold() -> None:
    scaffold = Scaffold(
        Schedule(over="power", exponent=3.0), Wording(opener="Söyle: ${x}", warn=False), nested=True, seed=7
    )
    loop, tools = json.loads(agent_loops(scaffold, ratio="scaffold/scaffold", name="mine"))
    assert (loop["name"], loop["ratio"]) == ("mine", "scaffold/scaffold")
    assert tools["name"] == TOOL_AGENT
    assert loop["scaffold"]["schedule"]["exponent"] == 3.0
    assert (loop["scaffold"]["nested"], loop["scaffold"]["seed"]) == (True, 7)
    assert loop["scaffold"]["wording"]["warn"] is False


@pytest.mark.parametrize("module", ["agent_loop", "tool_agent_loop", "sampler"])
def test_without_verl_it_says_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['verl'] = None; import trainer_client.verl.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'verl[vllm]==0.9.*'" in done.stderr.splitlines()[-1]


def test_recipe_rows_and_reward_need_neither_verl_nor_torch() -> None:
    code = (
        "import sys; import trainer_client.verl.recipe, trainer_client.verl.reward, trainer_client.verl.rows; "
        "print([name for name in ('verl', 'torch', 'ray', 'transformers', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_longer_than_it_may_be() -> None:
    folder = Path(__file__).parents[3] / "trainer_client" / "verl"
    lengths = [len(one.read_text().splitlines()) for one in folder.glob("*.py")]
    assert len(lengths) > 5 and max(lengths) <= 300


def test_options_with_fields_are_flat() -> None:
    weights = {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}}
    place = "+reward.custom_reward_function.reward_kwargs.options.aggregation"
    found = {name: value for name, value in told(options={"aggregation": weights}).items() if name.startswith(place)}
    assert found == {f"{place}.name": "rar_explicit", f"{place}.category_weights.pitfall": "0.8"}

"""Real verl classes: our settings under verl's own YAML, as `python -m verl.trainer.main_ppo` composes and checks them,
and the recipe of docs/guide/verl.md."""

import os
import shlex
from pathlib import Path
from typing import Any

import hydra
import pytest
import verl.trainer
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from tests.trainer_client.verl.contract.world import POLICY
from tests.trainer_client.verl.test_recipe import FILES, PAPER
from tests.trainer_client.verl.verl_docs import recipe
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.scaffold import Scaffold, Schedule, Wording
from trainer_client.verl.recipe import agent_loops, overrides

YAML = os.path.join(os.path.dirname(verl.trainer.__file__), "config")


def _composed(told: list[str]) -> DictConfig:
    with initialize_config_dir(YAML, version_base=None):
        config = compose("ppo_trainer", overrides=told)
    OmegaConf.resolve(config)
    return config


def _said(**more: Any) -> list[str]:
    return overrides(str(POLICY), **{**FILES, "steps": 350, **more})


def test_verl_knows_every_setting_and_passes_its_own_checks() -> None:
    config = _composed(_said())
    for name, value in PAPER.items():
        assert str(OmegaConf.select(config, name)) == str(OmegaConf.create({"_": value})["_"]) or float(
            OmegaConf.select(config, name)
        ) == float(value)
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert need_reference_policy(config) and not need_critic(config)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert (rollout.prompt_length, rollout.response_length, rollout.n) == (6144, 4096, 8)
    assert rollout.calculate_log_probs is False


def test_a_setting_that_verl_does_not_know_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no_such_setting"):
        _composed([*_said(), "trainer.no_such_setting=1"])


@pytest.mark.parametrize(
    "text", ["/a b/it's {x}, [y].parquet", "null", "true", "1e5", "007", "a\\b\\", "a\\'b", "http://j:1/v?a=b&c=d"]
)
def test_odd_values_arrive_as_they_are(text: str) -> None:
    """By hydra's own grammar; composing takes a second each."""
    (said,) = [one for one in _said(train=text) if one.startswith("data.train_files=")]
    assert OverridesParser.create().parse_override(said).value() == text


def test_the_judges_settings_arrive_in_the_reward_function() -> None:
    options: Any = {"aggregation": "rar_explicit", "soft": True, "min_coverage": 0.5, "expect_judge": "a1b2"}
    config = _composed(_said(options=options, judge_timeout_s=60.0, concurrency=3, when_missing="lower_bound"))
    kwargs = OmegaConf.to_container(config.reward.custom_reward_function.reward_kwargs)
    assert kwargs == {
        "url": "http://j:1",
        "judge_timeout_s": 60.0,
        "concurrency": 3,
        "when_missing": "lower_bound",
        "reasoning": "remove",
        "options": options,
    }


def test_the_agents_file_makes_the_scaffold_that_was_meant(tmp_path: Path) -> None:
    meant = Scaffold(
        Schedule("binary", "power", full=3, start=0.15, steepness=90.0, exponent=3.0),
        Wording(opener="Söyle: 100 %", closing="", points=False, warn=False),
        nested=True,
        seed=7,
    )
    dropout = RubricDropout(0.3, 2, ("axis:safety", "essential"), seed=7)
    (tmp_path / "agents.yaml").write_text(agent_loops(meant, dropout=dropout), encoding="utf-8")
    loop, tools = OmegaConf.load(tmp_path / "agents.yaml")
    made = hydra.utils.instantiate(loop.scaffold)
    assert made == meant
    # omegaconf calls a mapping equal to a dataclass with its values.
    assert [type(one) for one in (made, made.schedule, made.wording)] == [Scaffold, Schedule, Wording]
    for left_out in (hydra.utils.instantiate(one.dropout) for one in (loop, tools)):
        assert type(left_out) is RubricDropout and left_out == dropout
    assert hydra.utils.get_class(loop._target_).__name__ == "ScaffoldAgentLoop"
    assert hydra.utils.get_class(tools["_target_"]).__name__ == "TurnsToolAgentLoop"


def test_verl_composes_the_command_that_the_recipe_prints(tmp_path: Path) -> None:
    python, flag, module, *told = shlex.split(recipe(tmp_path))
    assert (python, flag, module) == ("python", "-m", "verl.trainer.main_ppo")
    config = _composed(told)
    assert Path(config.data.train_files).is_file() and Path(config.data.val_files).is_file()
    agents = OmegaConf.load(config.actor_rollout_ref.rollout.agent.agent_loop_config_path)
    assert agents[0].name == config.actor_rollout_ref.rollout.agent.default_agent_loop

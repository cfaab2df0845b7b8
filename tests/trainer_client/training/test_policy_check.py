"""A policy or a setting of TRL with which no training can begin is one message, and leaves nothing behind."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig, import_utils

from testkit.scripted_judge import Service, served
from tests.trainer_client.training import runs
from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client.cli.main import main
from trainer_client.training.policy_check import check_vllm, check_words, function, made
from trainer_client.training.run.config import RunConfigError
from trainer_client.training.run.sections import FunctionSection

Json = dict[str, Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(Service()) as url:
        yield url


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A copy of the policy that a test may spoil."""
    folder: Path = tmp_path / "policy"
    shutil.copytree(runs.POLICY, folder)
    return folder


def _said(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> str:
    """The one line with which `rubricd train` ends, having made no folder."""
    before = sorted(path.parent.iterdir())
    assert main(["train", str(path), *options]) == 2
    error = capsys.readouterr().err
    (line,) = [one for one in error.splitlines() if one.startswith("rubricd: ")]
    assert "Traceback" not in error and sorted(path.parent.iterdir()) == before
    return line


@pytest.mark.parametrize(
    ("trl", "said"),
    [
        ({"learning_rat": 1e-6}, "`trl.learning_rat`: unknown field; did you mean `learning_rate`?"),
        ({"zzzz": 1}, "`trl.zzzz`: unknown field; see the documentation of TRL's GRPOConfig"),
        ({"learning_rate": "1e-6"}, "`trl.learning_rate`: Input should be a valid number; here is '1e-6'"),
        ({"bf16": "no"}, "`trl.bf16`: Input should be a valid boolean; here is 'no'"),
        ({"loss_type": "dapoo"}, "`trl.loss_type`: TRL knows no 'dapoo'"),
        ({"importance_sampling_level": "tokens"}, "`trl.importance_sampling_level`: TRL knows no 'tokens'"),
        ({"scale_rewards": "grup"}, "`trl.scale_rewards`: TRL knows no 'grup'"),
        ({"report_to": ["wandbb"]}, "`trl.report_to`: no channel wandbb; did you mean wandb?"),
        ({"temperature": 0.0}, "`trl.temperature`: must be above 0; here is 0.0"),
        ({"top_p": 80.0}, "`trl.top_p`: must be above 0 and at most 1; here is 80.0"),
        ({"top_k": -1}, "`trl.top_k`: must be 0 (no limit) or more; here is -1"),
        ({"max_completion_length": 0}, "`trl.max_completion_length`: must be 1 or more; here is 0"),
        ({"learning_rate": -1.0}, "`trl.learning_rate`: must be 0 or more; here is -1.0"),
        ({"lr_scheduler_type": "constnt"}, "`trl`: constnt is not a valid SchedulerType"),
        ({"num_generations": 4}, "`trl`: trl.num_generations is computed; set `group`"),
        ({"max_completion_length": 99999}, "an answer may have 99999, but the policy's context ends at 4096;"),
    ],
)
def test_a_setting_of_trl(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], trl: Json, said: str) -> None:
    assert said in _said(capsys, runs.run_file(tmp_path, url, trl=trl))


def test_batches_that_do_not_fit_the_processes(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(capsys, runs.run_file(tmp_path, url, per_device=3))
    assert said.startswith("rubricd: mini_batch x group (8) must be a multiple of per_device x processes (3)")


def test_words_that_trl_knows_pass() -> None:
    losses = ["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
    for word in losses:
        check_words(GRPOConfig("out", loss_type=word, report_to=["tensorboard"], bf16=False))
    for word in ("group", "batch", "none"):
        check_words(GRPOConfig("out", scale_rewards=word, report_to=[], bf16=False))


def test_a_vllm_that_trl_does_not_support(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs.run_file(tmp_path, url, trl={"use_vllm": True, "vllm_mode": "colocate"})
    for version, refused in (("0.21.1", True), ("0.32.0+cu129", True), ("0.31.0", False)):
        monkeypatch.setattr(import_utils, "_is_package_available", lambda *_, version=version, **__: (True, version))
        if refused:
            assert f"supports vLLM 0.22.0 to 0.31.0, and {version} is installed; train in" in _said(capsys, path)
        else:
            check_vllm()


def test_weights_of_rewards_are_computed(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs.run_file(tmp_path, url, rewards={"by": "tag"}, trl={"reward_weights": [1.0, 2.0]})
    assert "`trl.reward_weights` is computed from `rewards`; leave it out" in _said(capsys, path)


def test_a_function_beside_the_judge_is_found_before_the_run(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def brief(completions, **_):\n    return [1.0 for _ in completions]\n")
    (tmp_path / "bad.py").write_text("import no_such_module\n")
    assert function(f"{tmp_path}/mine.py:brief")(completions=[1, 2]) == [1.0, 1.0]
    assert function("math:sqrt")(4) == 2
    for call, said in (
        ("mine.py:long", f"{tmp_path}/mine.py has no function `long`"),
        (
            "bad.py:brief",
            f"{tmp_path}/bad.py cannot be imported (ModuleNotFoundError: No module named",
        ),
        ("none.py:brief", "none.py cannot be imported (FileNotFoundError: "),
        ("no_such_module:brief", "no_such_module cannot be imported (ModuleNotFoundError: "),
    ):
        path = runs.run_file(tmp_path, url, rewards={"functions": [{"call": call}]})
        line = _said(capsys, path)
        assert "`rewards.functions`: " in line and said in line


def test_a_function_may_be_made_with_arguments_as_trls_own_are() -> None:
    """TRL's soft overlong punishment: 0 up to 6 tokens, -1 at 10, and between them what it is worth."""

    def found(call: str, **arguments: Any) -> Any:
        section = FunctionSection.model_validate({"call": call, "arguments": arguments})
        return made(function(call), section)

    punish = found("trl.rewards:get_soft_overlong_punishment", max_completion_len=10, soft_punish_cache=4)
    assert punish(completion_ids=[[1] * length for length in (3, 6, 8, 10, 11)]) == [0.0, 0.0, -0.5, -1.0, -1.0]
    for call, arguments, said in (
        ("trl.rewards:get_soft_overlong_punishment", {"soft_punish_cache": 4}, "fails .TypeError: "),
        ("builtins:dict", {"a": 1}, "makes no function; leave `arguments` out if it is the reward function"),
    ):
        with pytest.raises(RunConfigError, match=f"{call} with these `arguments` {said}"):
            found(call, **arguments)


def test_a_policy_that_cannot_be_had(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = _said(capsys, runs.run_file(tmp_path, url, policy="nobody/no-such-model"))
    assert "`policy`: nobody/no-such-model is no folder here, and cannot be had from the Hugging Face hub" in line


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("config.json", "cannot be read"),
        ("model.safetensors", "holds no weights (model.safetensors)"),
        ("chat_template.jinja", "has no chat template; put a chat_template.jinja beside its tokenizer"),
    ],
)
def test_a_policy_that_is_not_whole(
    tmp_path: Path, url: str, policy: Path, capsys: pytest.CaptureFixture[str], without: str, said: str
) -> None:
    (policy / without).unlink()
    line = _said(capsys, runs.run_file(tmp_path, url, policy="policy"))
    assert f"`policy`: {policy} {said}" in line


def test_a_prompt_that_the_template_refuses_is_named(
    tmp_path: Path, url: str, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = policy / "chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refuses + template.read_text())
    path = runs.run_file(tmp_path, url, policy="policy")
    assert main(["train", str(path), "--check"]) == 0, "only the scaffold had a system turn"
    assert "`scaffold.place` is system and the policy's template takes no" in _said(
        capsys, path, "--set", "scaffold.place=system"
    )
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "My neck is stiff."}]
    runs.lines(tmp_path / "train.jsonl", *runs.rows()[:7], {**runs.rows()[7], "prompt": turns})
    line = _said(capsys, path)
    assert "row stiff-hip: the policy's chat template refuses its prompt (System role not supported)" in line


def test_what_only_the_trainer_finds_leaves_nothing_either(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs.run_file(tmp_path, url, lora={"target_modules": ["no_such_module"]}, out="a/b")
    line = _said(capsys, path)
    assert line.startswith("rubricd: the training cannot begin: ") and "no_such_module" in line and len(line) < 500


def test_a_check_prints_the_plan_and_leaves_nothing(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted([*tmp_path.iterdir(), runs.run_file(tmp_path, url), tmp_path / "train.jsonl"])
    assert main(["train", str(tmp_path / "run.yaml"), "--check"]) == 0
    said = capsys.readouterr().out
    assert "ruscarl, 4 batches of 2 prompts x 4 rollouts; learning rate 0.0001; judge fake" in said
    assert "rubricd: 4 optimiser steps, 32 rollouts; a prompt has" in said
    assert "rubricd: 96 judgements by fake; for its hours give its config.json to `rubricd size --judge`" in said
    assert said.endswith("rubricd: checked; nothing was written\n")
    assert sorted(tmp_path.iterdir()) == before

"""A trained policy says what it was trained from."""

from pathlib import Path

from tests.trainer_client.training import runs
from trainer_client.training.model_card import card
from trainer_client.training.run import config as run_config

JUDGES = [{"from_step": 0, "model": "judge", "fingerprint": "f00d", "mode": "verdict"}]


def test_a_policy_of_the_hub_is_linked(tmp_path: Path) -> None:
    run = run_config.read(runs.run_file(tmp_path, "http://judge:8000", policy="Qwen/Qwen3-4B", lora={"r": 3}))
    said = card(run, 4, [*JUDGES, {**JUDGES[0], "from_step": 9, "fingerprint": "beef"}])
    assert said.startswith("---\nbase_model: Qwen/Qwen3-4B\nlibrary_name: peft\n")
    assert "Trained from [Qwen/Qwen3-4B](https://huggingface.co/Qwen/Qwen3-4B)" in said
    assert "LoRA adapter of rank 3: preset `ruscarl`" in said and "4 batches of 2 prompts x 4 rollouts" in said
    assert "from step 0: judge, fingerprint `f00d`" in said and "from step 9: judge, fingerprint `beef`" in said


def test_a_folder_is_named_without_its_path(tmp_path: Path) -> None:
    said = card(run_config.read(runs.run_file(tmp_path, "http://judge:8000")), 4, JUDGES)
    assert "the policy in the folder `policy`" in said and "base_model" not in said and "library_name: transf" in said
    assert str(runs.POLICY.parent) not in said and "None" not in said

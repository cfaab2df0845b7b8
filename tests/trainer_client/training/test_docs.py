"""The pages about training describe the run config and the presets as the code does."""

import re
from pathlib import Path

import pytest

from tools.training_tables import GUIDE, TABLES
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.training.presets import PRESETS, Preset
from trainer_client.training.run import config as run_config

PAGES = {
    name: (GUIDE / name).read_text(encoding="utf-8")
    for name in ("training.md", "presets.md", "living-rubrics.md", "rewards.md")
}
_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def _blocks() -> list[str]:
    """A whole run config, and the sections that other pages add to one."""
    [whole, lora], [sft] = _BLOCK.findall(PAGES["training.md"]), _BLOCK.findall(PAGES["presets.md"])
    return [whole, sft, *_BLOCK.findall(PAGES["living-rubrics.md"]), *_BLOCK.findall(PAGES["rewards.md"]), lora]


@pytest.mark.parametrize("head", TABLES)
def test_tables_are_what_the_code_says(head: str) -> None:
    page, table = TABLES[head]
    assert table() in PAGES[page], "run `python -m tools.training_tables`"


def test_the_examples_are_run_configs(tmp_path: Path) -> None:
    whole, sft, dropout, evolving, steps, examiner, lora = _blocks()
    (tmp_path / "run.yaml").write_text(whole)
    run = run_config.read(tmp_path / "run.yaml")
    assert run.trl["use_vllm"] is True and run.trl["top_k"] == 0
    (tmp_path / "run.yaml").write_text(whole + sft.partition("\n")[2])
    learnt = run_config.read(tmp_path / "run.yaml").sft
    assert learnt is not None and (learnt.epochs, learnt.batch, learnt.only) == (3, 64, False)
    (tmp_path / "run.yaml").write_text(whole + dropout)
    left_out = run_config.read(tmp_path / "run.yaml").dropout()
    assert left_out == RubricDropout(0.4, 3, ("essential", "axis:safety"), seed=0)
    (tmp_path / "run.yaml").write_text(whole + evolving)
    assert run_config.read(tmp_path / "run.yaml").most_evolved == 8
    (tmp_path / "run.yaml").write_text(whole + steps)
    stepwise = run_config.read(tmp_path / "run.yaml").scaffolding()
    assert (stepwise.choose, stepwise.first, stepwise.last) == ("in_order", ("part:form",), ("part:answer",))
    (tmp_path / "run.yaml").write_text(whole + examiner.partition("\n")[2])
    examined = run_config.read(tmp_path / "run.yaml").examiner
    assert examined is not None and (examined.mode, examined.aggregation) == ("reasoned", "healthbench")
    (tmp_path / "run.yaml").write_text(whole.replace(whole.splitlines()[-1], lora))
    assert run_config.read(tmp_path / "run.yaml").lora is not None


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_what_no_paper_states_is_said_with_its_reason(preset: Preset) -> None:
    known = {*preset.recipe, *preset.trl, *preset.judging, "ratio"}
    assert preset.chosen.keys() <= known and all(preset.chosen.values())

"""A run goes on with what it began with, or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from trainer_client.distillation.run import Plan, begin, checkpoint
from trainer_client.distillation.training import Recipe
from trainer_client.errors import DataError
from trainer_client.labels import Labels

PLAN = Plan(
    base="base",
    out=Path("out"),
    render=["render"],
    recipe=Recipe(epochs=3.0, learning_rate=1e-4, lora=None, seed=0),
    held_out=0.1,
    labels=Labels((), (), "rows"),
    test=None,
    taught=None,
)


def _save(work: Path, step: int, whole: bool = True) -> None:
    folder = work / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if whole:
        (folder / "trainer_state.json").write_text("{}")


def test_the_last_whole_checkpoint_is_continued(tmp_path: Path) -> None:
    assert checkpoint(tmp_path / "checkpoints") is None
    _save(tmp_path, 9)
    _save(tmp_path, 10)
    _save(tmp_path, 11, whole=False)
    assert checkpoint(tmp_path / "checkpoints") == str(tmp_path / "checkpoints" / "checkpoint-10")


@pytest.mark.parametrize(
    "changed, prompt, named",
    [
        (replace(PLAN, labels=Labels((), (), "other rows")), "digest", "labels"),
        (replace(PLAN, base="another"), "digest", "base"),
        (replace(PLAN, recipe=replace(PLAN.recipe, epochs=4.0, lora=8)), "digest", "epochs, lora"),
        (PLAN, "another digest", "prompt"),
    ],
)
def test_another_run_is_named_and_leaves_the_folder_alone(
    tmp_path: Path, changed: Plan, prompt: str, named: str
) -> None:
    begin(tmp_path, PLAN, "digest")
    begin(tmp_path, changed, prompt)  # before the first checkpoint nothing is lost
    begin(tmp_path, PLAN, "digest")
    _save(tmp_path, 10)
    begin(tmp_path, PLAN, "digest")
    before = (tmp_path / "run.json").read_text()
    with pytest.raises(DataError, match=f"holds a run with another {named}; undo that"):
        begin(tmp_path, changed, prompt)
    assert (tmp_path / "run.json").read_text() == before

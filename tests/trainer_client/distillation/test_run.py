"""A run goes on with what it began with, or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from service.engine.build import MINIATURE
from trainer_client.distillation.run import Plan, begin, checkpoint, run
from trainer_client.distillation.training import JudgeTrainer, Recipe
from trainer_client.errors import DataError
from trainer_client.labels import Labels, read_labels

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


def _small(folder: Path) -> Plan:
    """Twelve prompts with four criteria each, rendered beforehand."""
    rng = Random(1)
    about = {"layout": "rubricd", "prompt": "q", "digest": "d", "labels": ["Yes", "No"], "label_ids": [480, 479]}
    rows, prompts = [], [about]
    for n in range(12):
        rubric = [{"id": str(k), "text": "a", "points": 1} for k in range(4)]
        rows.append(
            {"prompt": str(n), "response": "r", "rubric": rubric, "met": {str(k): k % 2 == 0 for k in range(4)}}
        )
        own = [[rng.randrange(600) for _ in range(5)] for _ in range(4)]
        prompts.append({"shared": [rng.randrange(600) for _ in range(20)], "own": own})
    for name, lines in (("rows.jsonl", rows), ("prompts.jsonl", prompts)):
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return replace(
        PLAN,
        base=str(MINIATURE),
        out=folder / "judge",
        render=["cat", str(folder / "prompts.jsonl")],
        recipe=Recipe(epochs=2.0, learning_rate=1e-3, lora=None, seed=0),
        held_out=0.3,
        labels=read_labels([str(folder / "rows.jsonl")]),
    )


def test_an_interrupted_run_goes_on_and_asks_the_base_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _small(tmp_path)
    train, predict = JudgeTrainer.train, JudgeTrainer.predict
    calls: list[Any] = []

    def interrupted(self: JudgeTrainer, **arguments: Any) -> None:
        train(self, **arguments)
        raise KeyboardInterrupt

    def counted(self: JudgeTrainer, *arguments: Any) -> Any:
        calls.append("predict")
        return predict(self, *arguments)

    def resumed(self: JudgeTrainer, **arguments: Any) -> Any:
        calls.append(Path(arguments["resume_from_checkpoint"]).name)
        return train(self, **arguments)

    monkeypatch.setattr(JudgeTrainer, "predict", counted)
    monkeypatch.setattr(JudgeTrainer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(plan, lambda told: None)
    assert calls == ["predict"] and not plan.out.exists()
    before = (tmp_path / "judge.work" / "before.json").read_bytes()
    monkeypatch.setattr(JudgeTrainer, "train", resumed)
    distilled = run(plan, lambda told: None)
    (found,) = distilled.agreements
    assert [one.partition("-")[0] for one in calls] == ["predict", "checkpoint", "predict"]
    assert (tmp_path / "judge.work" / "before.json").read_bytes() == before
    assert found.rows == "held out" and found.after["auroc"].n == 16
    assert len(distilled.held_out.items) == 4 and distilled.held_out.labelled == 16
    assert {path.name for path in plan.out.iterdir()} >= {"model.safetensors", "tokenizer.json", "README.md"}


def test_rows_that_teach_nothing_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    plan = _small(tmp_path)
    with pytest.raises(DataError, match="give more prompts"):
        run(replace(plan, held_out=0.99), lambda told: None)
    everything = [replace(one, met=dict.fromkeys(one.met, True)) for one in plan.labels.items]
    with pytest.raises(DataError, match="all criteria to be learned are met, or none is"):
        run(replace(plan, labels=replace(plan.labels, items=tuple(everything))), lambda told: None)
    assert not (tmp_path / "judge.work").exists()

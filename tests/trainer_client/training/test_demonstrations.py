"""A training on reference answers, alone and before one on rewards."""

import json
from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import Service, served
from tests.trainer_client.training import runs
from trainer_client.errors import DataError
from trainer_client.training.demonstrations import demonstrations
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfigError

SFT = {"epochs": 6, "learning_rate": 1e-3, "batch": 4, "only": True}


def _run_file(folder: Path, url: str, **fields: Any) -> Path:
    rows = [{**row, "reference": "Drink ginger tea and see a nurse."} for row in runs.rows()]
    path = runs.run_file(folder, url, **fields)
    runs.lines(folder / "train.jsonl", *rows)
    return path


def _losses(out: Path) -> list[float]:
    lines = map(json.loads, (out / "sft.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_answers_are_learnt_alone_and_rewards_follow_from_their_weights(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with served(Service()) as url:
        path = _run_file(tmp_path, url, sft=SFT, steps=1, save_every=1, judging={"judge_timeout_s": 60.0})
        alone = runs.train(path)
        assert alone.returncode == 0, alone.stderr
        assert "sft: 8 reference answers, 6 epochs, learning rate 0.001" in alone.stdout
        losses = _losses(out)
        assert len(losses) == 12
        assert losses[-1] < 0.7 * losses[0]
        assert not (out / "policy").exists(), "no reward was asked for"
        learnt = (out / "sft" / "model.safetensors").stat().st_mtime_ns
        both = runs.train(path, "--resume", "--set", "sft.only=false")
    assert both.returncode == 0, both.stderr
    assert (out / "sft" / "model.safetensors").stat().st_mtime_ns == learnt, "what is learnt is not learnt again"
    assert (out / "policy" / "model.safetensors").read_bytes() != (out / "sft" / "model.safetensors").read_bytes()
    assert "the policy in the folder `sft`" in (out / "policy" / "README.md").read_text()
    assert len([log for log in runs.metrics(out) if "reward" in log]) == 1


@pytest.mark.parametrize(
    ("rows", "fields", "says"),
    [
        ([{**runs.rows()[0], "reference": " "}], {}, "has no reference answer to learn from"),
        (runs.rows()[:1], {}, "has no reference answer to learn from"),
        ([{**runs.rows()[0], "reference": "Tea."}], {"lora": {}}, "`sft` trains all weights"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_anything_is_trained(
    tmp_path: Path, rows: list[Any], fields: dict[str, Any], says: str
) -> None:
    path = runs.run_file(tmp_path, "http://127.0.0.1:9", sft=SFT, **fields)
    runs.lines(tmp_path / "train.jsonl", *rows)
    with pytest.raises((DataError, RunConfigError), match=says):
        demonstrations(run_config.read(path))


def test_several_processes_are_told_to_run_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RunConfigError, match="runs in one process"):
        demonstrations(run_config.read(_run_file(tmp_path, "http://127.0.0.1:9", sft=SFT)))


def test_rows_of_their_own_and_a_batch_that_does_not_divide(tmp_path: Path) -> None:
    path = _run_file(tmp_path, "http://127.0.0.1:9", sft={"data": "other.jsonl"})
    runs.lines(tmp_path / "other.jsonl", {"id": "o", "prompt": "Why?", "reference": "So."})
    assert [row.id for row in demonstrations(run_config.read(path))] == ["o"]
    with pytest.raises(RunConfigError, match="must be a multiple of per_device"):
        run_config.read(_run_file(tmp_path, "http://127.0.0.1:9", sft={"batch": 12}, per_device=8))

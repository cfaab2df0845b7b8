"""A damaged copy of the bundled judge learns from labels and from a teacher, and is served as it was measured."""

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from miniature.world.cases import evaluation
from service.engine.build import MINIATURE
from testkit.processes import ROOT, Running, service
from trainer_client import wire
from trainer_client.agreement import criteria
from trainer_client.agreement.bootstrap import Figure
from trainer_client.cli.main import main
from trainer_client.client import JudgeClient
from trainer_client.labels import judge_labels, read_labels


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled judge with noise on its weights."""
    folder = tmp_path_factory.mktemp("base") / "judge"
    shutil.copytree(MINIATURE, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.add_(torch.randn(weights.shape, generator=noise) * weights.std() * 0.8)
    model.save_pretrained(folder)
    return folder


def _rows(path: Path, seed: int, count: int, row: Callable[[Any], Any]) -> Path:
    cases = [evaluation(seed, index) for index in range(count)]
    path.write_text("".join(f"{json.dumps(row(case))}\n" for case in cases))
    return path


def _labelled(case: Any) -> Any:
    return {"item": case.wire, "met": case.truth}


def _distill(*arguments: object) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["distill", *map(str, arguments), "--learning-rate", "1e-3", "--held-out", "0.3"]) == 0
    return out.getvalue()


async def _auroc(url: str, file: Path) -> Figure:
    labels = read_labels([str(file)])
    async with JudgeClient(url) as client:
        judged = await judge_labels(client, labels)
    return criteria.criterion_figures(criteria.verdicts_of(labels, judged), resamples=2)["auroc"]


async def _judge(url: str) -> wire.JudgeInfo:
    async with JudgeClient(url) as client:
        return await client.judge()


def test_labels_are_learned_and_the_service_says_what_the_card_says(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    train, test = _rows(tmp_path / "a.jsonl", 5, 50, _labelled), _rows(tmp_path / "b.jsonl", 6, 24, _labelled)
    said = _distill(train, "--base", damaged, "--out", tmp_path / "judge", "--test", test, "--epochs", 2)
    assert "test, against the labels: AUROC 0.8" in said
    found = json.loads((tmp_path / "judge" / "distillation.json").read_text())
    (tested,) = (one for one in found["agreements"] if one["rows"] == "test")
    assert tested["gain"]["low"] > 0.0 and tested["after"]["auroc"]["value"] > 0.85
    assert found["label_mass"] > 0.99
    judge = tmp_path / "judge"
    assert f"ARGS='--calibration {judge}/calibration.json'" in said and "log loss lower by" in said
    with service("--judge", str(judge), "--calibration", str(judge / "calibration.json")) as running:
        served = asyncio.run(_auroc(running.url, test))
        (calibration,) = json.loads((judge / "calibration.json").read_text())["calibrations"]
        info = asyncio.run(_judge(running.url))
        assert calibration["judge"] in {one.uncalibrated for one in info.judges} and info.calibration
    assert served.value == pytest.approx(tested["after"]["auroc"]["value"], abs=0.003)  # bfloat16 may have trained it
    assert not (tmp_path / "judge.work" / "checkpoints").exists()


def test_a_teacher_is_learned_from_on_rows_without_labels(
    damaged: Path, tmp_path: Path, bundled: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    rows = _rows(tmp_path / "rows.jsonl", 7, 30, lambda case: case.wire)
    out = tmp_path / "judge"
    said = _distill(rows, "--base", damaged, "--out", out, "--teacher", bundled.url, "--epochs", 1, "--lora", 4)
    assert "held out, against the teacher: AUROC 0." in said and "against the labels" not in said
    said = capsys.readouterr().err
    assert "the rows are read without labels" in said and "not calibrated: the judge has verdicts on 0 criteria" in said
    card = (out / "README.md").read_text()
    assert "It learned the verdicts of miniature, a toy, fingerprint" in card and "| teacher | " in card
    assert len((tmp_path / "judge.work" / "teacher.jsonl").read_text().splitlines()) == 30

"""The study: which runs it asks for, and the table of their results. tests/e2e/test_study.py runs a small one."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from miniature.experiment import study
from miniature.experiment.arms import ARMS, Setting


def _options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    study.add_arguments(parser)
    return parser.parse_args(words)


def test_an_unknown_arm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="unknown arms: ruscar; there are ruscarl, rubric-rl"):
        study.run(_options("--arms", "ruscar,merf"))


def test_a_rating_needs_a_judge() -> None:
    with pytest.raises(
        SystemExit, match="reward truth is by the rubric's points alone, and direct-likert ask otherwise"
    ):
        study.run(_options("--arms", "ruscarl,direct-likert", "--reward", "truth"))


@pytest.mark.parametrize("asked", [("erring", "0"), ("erring", "1.5"), ("truth", "0.7")])
def test_an_agreement_that_means_nothing_is_refused(asked: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="give a correlation above 0, to 1, with `--reward erring`"):
        study.run(_options("--reward", asked[0], "--agreement", asked[1]))


def test_runs_of_other_settings_and_judges_have_folders_of_their_own(tmp_path: Path) -> None:
    run = study.Run("ruscarl", 0, Setting(), None, 4, tmp_path, None, tmp_path)
    others: list[dict[str, Any]] = [
        {"setting": Setting(kl="plain")},
        {"setting": Setting(reward="truth")},
        {"setting": Setting(beta=0.001)},
        {"setting": Setting(reward="erring", agreement=0.7)},
        {"setting": Setting(reward="erring", agreement=0.5)},
        {"setting": Setting(temperature=0.7, top_p=0.8)},
        {"judge": Path("/other/small")},
        {"rate": 1e-3},
        {"seed": 1},
    ]
    folders = {run.folder.name, *(replace(run, **other).folder.name for other in others)}
    assert len(folders) == len(others) + 1
    assert run.folder.name == "ruscarl-0"


@pytest.mark.parametrize(
    "other",
    [
        {"setting": Setting(steps=5)},
        {"rate": 1e-3},
        {"samples": 8},
        {"setting": Setting(beta=0.1)},
        {"policy": Path("/x")},
    ],
)
def test_a_run_that_was_asked_for_otherwise_is_no_result(
    tmp_path: Path, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study.Run, "folder", tmp_path)
    run = study.Run("ruscarl", 0, Setting(steps=2), None, 4, tmp_path / "policy", None, tmp_path)
    assert run.result is None
    written = {"setting": asdict(Setting(steps=2)), "rate": ARMS["ruscarl"].rate, "samples": 4}
    (tmp_path / "result.json").write_text(json.dumps({**written, "policy": str(tmp_path / "policy")}))
    assert run.result is not None
    assert replace(run, **other).result is None

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


def test_the_table_has_means_and_spread_of_the_seeds() -> None:
    def result(arm: str, bare: float) -> study.Result:
        split = {"bare_reward": bare, "exact_reward": bare / 2, "best_of": {"1": bare, "8": 1.0}}
        return {"arm": arm, "splits": {"train": split, "trained": split, "held-out": split}}

    found = study.table([result("a", 0.2), result("a", 0.4), result("b", 0.5)])
    assert found["a"]["bare_reward"] == pytest.approx(0.3)
    assert found["a"]["exact_reward"] == pytest.approx(0.15)
    assert found["a"]["spread"] == [0.2, 0.4]
    assert [found[arm]["seeds"] for arm in found] == [2, 1]


@pytest.mark.parametrize(
    "other", [{"steps": 5}, {"rate": 1e-3}, {"samples": 8}, {"kl": "clamped"}, {"policy": Path("/other")}]
)
def test_a_run_that_was_asked_for_otherwise_is_no_result(tmp_path: Path, other: dict[str, Any]) -> None:
    run = study.Run("ruscarl", 0, 2, None, 4, "plain", tmp_path / "policy", tmp_path)
    assert run.result is None
    written = {"setting": asdict(Setting(steps=2)), "rate": ARMS["ruscarl"].rate, "samples": 4}
    (tmp_path / "result.json").write_text(json.dumps({**written, "policy": str(tmp_path / "policy")}))
    assert run.result is not None
    assert replace(run, **other).result is None

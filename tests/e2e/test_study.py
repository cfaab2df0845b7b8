"""A small study of the miniature run whole, with a real service, real TRL and real processes."""

import argparse
import json
from pathlib import Path

import pytest

from miniature.experiment import study
from miniature.experiment.run import metrics


def _options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    study.add_arguments(parser)
    return parser.parse_args(words)


def test_a_small_study_from_service_to_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, end = tmp_path / "study", tmp_path / "end.json"
    words = ("--steps", "2", "--samples", "4", "--out", str(out), "--json", str(end))
    assert study.run(_options(*words)) == 0
    told = capsys.readouterr().out
    found = json.loads(end.read_text())
    assert list(found) == ["ruscarl-steps2", "rubric-rl-steps2"]
    for label, values in found.items():
        assert -1 < values["bare_reward"] < 0.4
        assert {"held_out", "exact_reward", "best_of"} <= values.keys()
        assert values["best_of"]["4"] >= values["best_of"]["1"]
        arm = label.removesuffix("-steps2")
        lines = [line for line in metrics(out / f"{arm}-0-steps2") if "reward" in line]
        assert [line["step"] for line in lines] == [1, 2]
        assert {line["judge/none_share"] for line in lines} == {0.0}
        assert ("reward/scaffolded" in lines[0]) == (arm == "ruscarl")
        assert f"| `{label}` |" in told
    assert (out / "study.png").stat().st_size > 10_000
    written = (out / "ruscarl-0-steps2" / "result.json").stat().st_mtime_ns
    assert study.run(_options(*words)) == 0
    assert (out / "ruscarl-0-steps2" / "result.json").stat().st_mtime_ns == written

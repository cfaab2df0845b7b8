"""The study: what is compared, and a small one run whole, with real service, real TRL and real processes."""

import argparse
import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature.experiment import study
from miniature.experiment.arms import ARMS, GROUP, Setting
from miniature.experiment.run import metrics, order
from miniature.policy.policy_evaluation import best_of
from miniature.world.tasks import rows


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=7), st.integers(1, 7))
def test_the_best_of_n_is_the_mean_over_all_choices(scores: list[float], n: int) -> None:
    n = min(n, len(scores))
    every = mean(max(some) for some in combinations(scores, n))
    assert best_of([scores], n) == pytest.approx(every, abs=1e-9)


def test_the_best_of_one_is_the_mean_over_prompts() -> None:
    assert best_of([[0.0, 1.0], [1.0, 1.0]], 1) == pytest.approx(0.75)
    assert best_of([[0.0, 1.0], [1.0, 1.0]], 2) == pytest.approx(1.0)


def test_every_epoch_holds_every_row_once_in_an_order_of_its_seed() -> None:
    setting = Setting(steps=25, prompts_per_batch=8)
    listed = [row.id for row in order(setting, seed=3)]
    every = {row["id"] for row in rows("train")}
    assert len(listed) == 200
    for epoch in (listed[:80], listed[80:160]):
        assert Counter(epoch) == Counter(every)
    assert len(set(listed[160:])) == 40
    assert listed == [row.id for row in order(setting, seed=3)]
    assert listed != [row.id for row in order(setting, seed=4)]
    assert listed[:80] != listed[80:160]


def test_the_arms_show_what_they_say() -> None:
    def shares(arm: str, step: int) -> list[float]:
        return [ARMS[arm].schedule.share(member, GROUP, step, 100) for member in range(GROUP)]

    assert shares("rubric-rl", 1) == [0.0] * GROUP
    assert shares("merf", 1) == shares("merf", 100) == [1.0] * GROUP
    assert shares("decay-constant", 100)[0] == 1.0
    assert shares("decay-linear", 100) == [0.0] * GROUP
    for arm in ("ruscarl", "scaffold-scaffold", "bare-scaffold"):
        assert shares(arm, 1)[0] > 0.99
        assert shares(arm, 1)[-1] == 0.0
        assert max(shares(arm, 100)) < 0.01


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


@pytest.mark.parametrize("other", [{"steps": 5}, {"rate": 1e-3}, {"samples": 8}, {"policy": Path("/other")}])
def test_a_run_that_was_asked_for_otherwise_is_no_result(tmp_path: Path, other: dict[str, Any]) -> None:
    run = study.Run("ruscarl", 0, 2, None, 4, tmp_path / "policy", tmp_path)
    assert run.result is None
    written = {"setting": asdict(Setting(steps=2)), "rate": ARMS["ruscarl"].rate, "samples": 4}
    (tmp_path / "result.json").write_text(json.dumps({**written, "policy": str(tmp_path / "policy")}))
    assert run.result is not None
    assert replace(run, **other).result is None


@pytest.mark.timeout(600)
def test_a_small_study_from_service_to_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, end = tmp_path / "study", tmp_path / "end.json"
    words = ("--steps", "2", "--samples", "4", "--out", str(out), "--json", str(end))
    assert study.run(_options(*words)) == 0
    told = capsys.readouterr().out
    found = json.loads(end.read_text())
    assert list(found) == ["ruscarl", "rubric-rl"]
    for arm, values in found.items():
        assert -1 < values["bare_reward"] < 0.4
        assert {"held_out", "exact_reward", "best_of"} <= values.keys()
        assert values["best_of"]["4"] >= values["best_of"]["1"]
        lines = [line for line in metrics(out / f"{arm}-0") if "reward" in line]
        assert [line["step"] for line in lines] == [1, 2]
        assert {line["judge/none_share"] for line in lines} == {0.0}
        assert ("reward/scaffolded" in lines[0]) == (arm == "ruscarl")
        assert f"| {arm} |" in told
    assert (out / "study.png").stat().st_size > 10_000
    written = (out / "ruscarl-0" / "result.json").stat().st_mtime_ns
    assert study.run(_options(*words)) == 0
    assert (out / "ruscarl-0" / "result.json").stat().st_mtime_ns == written

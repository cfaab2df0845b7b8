"""A training tells alarms about its rewards, and ends at those that it is to end at, with a checkpoint."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Json, Service, answered, scores, served
from tests.trainer_client.rollouts import made
from tests.trainer_client.training import runs
from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client.training.reward_watch import RewardWatch
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfigError


def _same(folder: Path, steps: range) -> None:
    """Batches whose groups all have one answer."""
    for step in steps:
        made.write(folder, step, made.columns(step, ["a", "a", "b", "b"], [str(step)] * 4))


def _end_of(watch: RewardWatch, step: int, **state: Any) -> SimpleNamespace:
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    found = {"global_step": step, "max_steps": 100, "is_world_process_zero": True, **state}
    watch.on_step_end(None, SimpleNamespace(**found), control)
    return control


def test_an_alarm_that_is_to_end_a_training_saves_and_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = RewardWatch(tmp_path, ["identical"], 0.01, updates=2)
    assert not _end_of(watch, 2).should_training_stop, "there is no table yet"
    _same(tmp_path, range(2, 8, 2))
    assert not _end_of(watch, 8).should_training_stop
    _same(tmp_path, range(8, 80, 2))
    assert not _end_of(watch, 79).should_training_stop, "in the middle of a batch"
    assert not _end_of(watch, 80, max_steps=80).should_training_stop, "at its end anyway"
    control = _end_of(watch, 80)
    assert control.should_training_stop and control.should_save and watch.stopped
    assert watch.stopped_by is not None and watch.stopped_by.kind == "identical"
    said = capsys.readouterr().err
    assert said.startswith("rubricd: ALARM identical at batch ") and "raise the temperature" in said
    assert said.count("ALARM identical") == 1


def test_other_alarms_are_told_and_the_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = RewardWatch(tmp_path, [], 0.01, updates=1)
    _same(tmp_path, range(1, 60))
    assert not _end_of(watch, 60).should_training_stop and not watch.stopped
    assert "ALARM identical" in capsys.readouterr().err


def test_a_stop_that_compares_judges_needs_an_examiner(tmp_path: Path) -> None:
    path = runs.run_file(tmp_path, "http://judge:8000", watch={"stop": ["shortcut"]})
    with pytest.raises(RunConfigError, match=r"watch\.stop `shortcut` compares judges: give the run an `examiner`"):
        run_config.read(path)
    with pytest.raises(RunConfigError, match=r"watch\.stop"):
        run_config.read(runs.run_file(tmp_path, "http://judge:8000", watch={"stop": ["shortcuts"]}))


def test_a_training_that_an_alarm_ends_says_why_and_can_go_on(tmp_path: Path) -> None:
    """Every criterion is always met, and every reward is the same."""

    def generous(body: Json) -> httpx.Response:
        said = scores(body)
        for result in said["results"]:
            result["score"], result["score_bounds"] = 0.5, [0.5, 0.5]
            for one in result["criteria"]:
                one["met"], one["p"] = True, 0.9
        return answered(said)

    with served(Service(generous)) as url:
        watched = {"stop": ["no_spread"], "false_alarms": 0.1}
        path = runs.run_file(tmp_path, url, steps=9, save_every=50, watch=watched, prompts_per_batch=8, mini_batch=8)
        done = runs.train(path, "--set", "per_device=32")
        assert done.returncode == 3, done.stderr
        assert "ended by `watch.stop`: ALARM no_spread at batch " in done.stderr and "Traceback" not in done.stderr
        (checkpoint,) = (tmp_path / "out").glob("checkpoint-*")
        assert f"--resume continues from {checkpoint.name}, with --set watch.stop=[]" in done.stderr
        assert not (tmp_path / "out" / "policy").exists()
        assert int(checkpoint.name.removeprefix("checkpoint-")) < 9
        assert "Reward health" in (tmp_path / "out" / "report.html").read_text()
        logs = [log for log in runs.metrics(tmp_path / "out") if "reward" in log]
        assert logs[-1]["groups/no_spread"] == 1 and "groups/identical" in logs[-1]
        again = runs.train(path, "--resume", "--set", "per_device=32", "--set", "watch.stop=[]")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "policy").exists() and "ALARM no_spread" in again.stderr

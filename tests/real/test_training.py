"""`rubricd train` with a real judge: its rewards are scores of real label probabilities."""

from pathlib import Path

import pyarrow.parquet as pq

from testkit.processes import Running
from tests.trainer_client.training import runs


def test_two_steps_are_trained_on_its_scores(served: Running, tmp_path: Path) -> None:
    judging = {"judge_timeout_s": 120, "soft": True}
    path = runs.run_file(tmp_path, served.url, steps=2, group=2, save_every=2, per_device=4, judging=judging)
    done = runs.train(path)
    assert done.returncode == 0, done.stderr
    logs = [log for log in runs.metrics(tmp_path / "out") if "reward" in log]
    assert [log["step"] for log in logs] == [1, 2]
    assert all(log["judge/none_share"] == 0 for log in logs)
    tables = sorted((tmp_path / "out" / "completions").glob("*.parquet"))
    rollouts = [one for table in tables for one in pq.read_table(table).to_pylist()]
    assert len(rollouts) == 2 * 2 * 2 and {one["status"] for one in rollouts} == {"ok"}
    assert len({one["score"] for one in rollouts}) > 4, "soft scores of a real judge differ"

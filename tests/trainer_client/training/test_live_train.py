"""`rubricd train` with rubrics that change: a tiny policy, TRL, a judge and a proposer over HTTP."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from testkit.chat_server import Asked, chat_server
from testkit.scripted_judge import Service, served
from tests.trainer_client.training import runs


def _proposed(asked: Asked) -> str:
    """Two criteria; nothing where it was asked about a wrist."""
    if "itchy wrist" in asked.last:
        return "I have no idea."
    fault = f"Praises itself {asked.number} times over."
    told = [{"text": f"Names the day {asked.number}.", "kind": "positive"}, {"text": fault, "kind": "anti_hack"}]
    return json.dumps({"criteria": told})


def test_a_run_with_dropout_and_a_proposer(tmp_path: Path) -> None:
    """Four batches of two rows, eight rows in all: each is proposed for once, and one proposal fails."""
    with served(Service()) as url, chat_server(_proposed) as generator:
        changing: dict[str, Any] = {
            "rubric_dropout": {"share": 0.5, "keep": 1},
            "evolving": {"proposer": {"url": generator.url, "model": "writer"}},
        }
        done = runs.train(runs.run_file(tmp_path, url, scaffold={"over": "linear", "choose": "unlearnt"}, **changing))
    assert done.returncode == 0, done.stderr
    assert "the proposer writer gave no criteria" in done.stderr and len(generator.asked) == 8
    out = tmp_path / "out"
    kept = [json.loads(line) for line in (out / "proposals.jsonl").read_text().splitlines()]
    assert sorted("error" in one for one in kept) == [False] * 7 + [True]
    events = [json.loads(line) for line in (out / "rubrics.jsonl").read_text().splitlines()]
    assert {one["what"] for one in events} >= {"proposed"} and {one["evolved"]["proposer"] for one in events} == {
        "writer"
    }
    logs = [log for log in runs.metrics(out) if "reward" in log]
    assert sum(log["evolving/failed_share"] for log in logs) == pytest.approx(0.5)
    assert all(0 < log["rubric/evolved_points_share"] <= 0.3 + 1e-6 for log in logs)
    shares = sorted(round(log["rubric/dropped_share"], 3) for log in logs)
    assert shares == [0.2, 0.2, 0.2, 0.267], "1 of 5, and of 3 where nothing was proposed"
    table = pq.read_table(out / "completions" / "completions_00001.parquet").to_pydict()
    assert all(set(json.loads(one)) <= {"tea", "nurse"} for one in table["dropped"])
    state = json.loads((out / "checkpoint-4" / "trainer_state.json").read_text())["stateful_callbacks"]["LiveState"]
    assert set(state["attributes"]["pass_rates"]) == {row["id"] for row in runs.rows()}
    page = (out / "report.html").read_text()
    assert "Reward by the whole rubric" in page and "Rubrics that change" in page

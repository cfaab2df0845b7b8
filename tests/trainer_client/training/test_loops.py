"""Four loops of a stranger who trains: a mistake, its message, the fix, and the same command again."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from testkit.scripted_judge import Service, answered, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.training import runs
from trainer_client.cli.main import main

Json = dict[str, Any]


class Another(Service):
    """Another judge, which gives every response half of what the first one gives."""

    def __init__(self) -> None:
        super().__init__(self._answer)

    @staticmethod
    def _answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = "judge-2"
        for result in whole["results"]:
            result["score"] /= 2
            result["score_bounds"] = [result["score"]] * 2
        return answered(whole)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, list[str]]]:
    """A run that began at the third attempt: its folder, its judge's URL, and what the first two attempts said."""
    folder = tmp_path_factory.mktemp("loops")
    said = []
    with served(Service()) as url:
        fields: Json = {"steps": 2, "save_every": 1}
        for more in ({"learning_rat": 1e-5}, {"trl": {"max_completion_length": 100_000}}):
            refused = runs.train(runs.run_file(folder, url, **fields, **more))
            assert refused.returncode == 2 and not (folder / "out").exists()
            said.append(refused.stderr)
        done = runs.train(runs.run_file(folder, url, **fields))
        assert done.returncode == 0, done.stderr
        yield folder / "out", url, said


def _named(said: str) -> str:
    (line,) = [line for line in said.splitlines() if line.startswith("rubricd: ")]
    assert "Traceback" not in said
    return line


def test_a_wrong_field_is_fixed_and_the_run_started_again(trained: tuple[Path, str, list[str]]) -> None:
    out, _, said = trained
    assert "`learning_rat`: unknown field; did you mean `trl.learning_rate`?" in _named(said[0])
    assert (out / "policy" / "model.safetensors").exists()


def test_an_answer_too_long_is_fixed_and_the_run_started_again(trained: tuple[Path, str, list[str]]) -> None:
    out, _, said = trained
    assert "an answer may have 100000, but the policy's context ends at" in _named(said[1])
    assert "set trl.max_completion_length" in said[1]
    assert [log["step"] for log in runs.metrics(out) if "reward" in log] == [1, 2]


def test_a_killed_run_is_resumed_with_other_logging_steps(tmp_path: Path) -> None:
    held, waiting = threading.Event(), threading.Event()

    def answer(body: Json) -> httpx.Response:
        if len(service.bodies) == 1 + 2 + 1:  # the question before all, two batches, and the third
            waiting.set()
            held.wait(HUNG_S)
        return answered(scores(body))

    service = Service(answer)
    with served(service) as url:
        path = runs.run_file(tmp_path, url, judging={"judge_timeout_s": 300})
        command = [sys.executable, "-m", "trainer_client", "train", str(path), "--toy-judge"]
        quiet: Json = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=runs.environment(), **quiet) as process:
            assert waiting.wait(HUNG_S)
            process.send_signal(signal.SIGKILL)
        held.set()
        again = runs.train(path)
        assert again.returncode == 2 and "continue it with --resume" in _named(again.stderr)
        resumed = runs.train(path, "--resume", "--set", "trl.logging_steps=2")
    assert resumed.returncode == 0, resumed.stderr
    assert ", from checkpoint-2;" in resumed.stdout
    assert [log["step"] for log in runs.metrics(tmp_path / "out") if "reward" in log] == [1, 2, 4]


def test_the_runs_completions_are_scored_again_and_by_another_judge(
    trained: tuple[Path, str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, url, _ = trained
    tables = sorted((out / "completions").glob("*.parquet"))
    before = [row["score"] for table in tables for row in pq.read_table(table).to_pylist()]
    with served(Another()) as other:
        for name, judge in (("same", url), ("other", other)):
            command = ["score", str(out / "completions"), "--url", judge, "--out", str(tmp_path / name), "--quiet"]
            assert main(command) == 0, capsys.readouterr().err
    same, halved = (
        [json.loads(line) for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()]
        for name in ("same", "other")
    )
    assert len(before) == 2 * 2 * 4 and len(set(before)) > 1
    assert [line["score"] for line in same] == pytest.approx(before)
    assert [line["score"] for line in halved] == pytest.approx([score / 2 for score in before])
    assert {line["judge"] for line in halved} == {"judge-2"}

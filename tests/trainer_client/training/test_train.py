"""`rubricd train`, whole: a tiny policy, TRL, and a judge over HTTP."""

import json
import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from testkit.processes import service as real_service
from testkit.scripted_judge import FINGERPRINT, Service, answered, problem, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.training import runs
from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client.cli.main import main
from trainer_client.errors import JudgeMismatch
from trainer_client.rollouts import read
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.train import spare_the_terminal

Json = dict[str, Any]
HELD_OUT: Json = {**runs.rows()[0], "id": "held", "prompt": "My neck is stiff. What now?"}


class Mortal(Service):
    """Judges until it is dead."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.answers_left: float = float("inf")

    def _answer(self, body: Json) -> httpx.Response:
        self.answers_left -= 1
        return answered(scores(body)) if self.answers_left >= 0 else problem("unavailable", 503)


def _weights(out: Path) -> bytes:
    return (out / "policy" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """A run that nothing disturbed: its folder, what it said, and the URL of its judge."""
    folder = tmp_path_factory.mktemp("whole")
    with served(Service()) as url:
        done = runs.train(runs.run_file(folder, url))
        assert done.returncode == 0, done.stderr
        yield folder / "out", done.stdout, url


def test_rollouts_without_a_reward_are_counted_and_not_printed(caplog: pytest.LogCaptureFixture) -> None:
    trainers = logging.getLogger("trl.trainer.grpo_trainer")
    spare_the_terminal()
    trainers.warning("[RANK 0] All reward functions returned None for the following kwargs:\n{'prompt': …}")
    trainers.warning("another word")
    assert caplog.messages == ["another word"]
    trl = find_spec("trl")
    assert trl is not None and trl.origin is not None
    words = (Path(trl.origin).parent / "trainer" / "grpo_trainer.py").read_text(encoding="utf-8")
    assert "All reward functions returned None" in words, "TRL says it in other words now"


def test_a_run_leaves_a_whole_folder(whole: tuple[Path, str, str]) -> None:
    out, said, _ = whole
    assert f"ruscarl, 4 batches of 2 prompts x 4 rollouts; learning rate 0.0001; judge fake {FINGERPRINT}" in said
    assert {path.name for path in out.iterdir()} >= {
        *("run.yaml", "data.json", "judge.json", "metrics.jsonl", "completions", "policy", "report.html"),
        *("checkpoint-2", "checkpoint-4"),
    }
    logs = [log for log in runs.metrics(out) if "reward" in log]
    assert [log["step"] for log in logs] == [1, 2, 3, 4]
    assert (
        logs[0]["scaffold/revealed_share"] == pytest.approx((1 + 2 / 3 + 1 / 3 + 0) / 4)
        and logs[0]["judge/none_share"] == 0
    )
    assert {"reward/bare", "reward/scaffolded", "criteria/tea", "criteria/axis:item", "kl"} <= logs[0].keys()
    assert "reward/scaffolded" not in logs[3], "at the end nothing is shown"
    assert run_dir.judges(out)[0]["fingerprint"] == FINGERPRINT
    for card in (out / "README.md", out / "policy" / "README.md"):
        assert "Trained from the policy in the folder `policy`" in card.read_text(encoding="utf-8")
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")


def test_every_reward_is_the_judges(whole: tuple[Path, str, str]) -> None:
    """From answer to score once more, by the scripted judge's own rule."""
    out = whole[0]
    rubric = runs.rows()[0]["rubric"]
    tables = sorted((out / "completions").glob("*.parquet"))
    rollouts = [one for table in tables for one in pq.read_table(table).to_pylist()]
    assert len(tables) == 4 and len(rollouts) == 4 * 2 * 4
    for one in rollouts:
        item = {"prompt": "", "response": one["completion"][-1]["content"], "rubric": {"criteria": rubric}}
        expected = scores({"items": [item], "mode": "verdict", "layout": "rubricd"})["results"][0]["score"]
        assert one["score"] == one["reward"] == pytest.approx(expected) and one["status"] == "ok"
    assert {one["member"] for one in rollouts} == {0, 1, 2, 3}
    logged = read(out)
    assert [(one.step, one.score, one.answer) for one in logged] == [
        (one["step"], one["score"], one["answer"]) for one in rollouts
    ]
    assert len({one.group for one in logged}) == 4 * 2
    assert {tuple(one.text for one in rollout.criteria) for rollout in logged} == {tuple(one["text"] for one in rubric)}
    assert all(one.p is not None and one.met == (one.p >= 0.5) for rollout in logged for one in rollout.criteria)


def test_a_judge_that_dies_ends_the_run_and_a_resumed_run_is_the_undisturbed_one(
    whole: tuple[Path, str, str], tmp_path: Path
) -> None:
    judge = Mortal()
    with served(judge) as url:
        path = runs.run_file(tmp_path, url)
        judge.answers_left = 1 + 2  # the question before all, and two batches
        dead = runs.train(path)
        assert dead.returncode == 1, dead.stderr
        assert re.search(r"^rubricd: 8 of 8 rollouts have no reward after 0.5 s", dead.stderr, re.M)
        assert "--resume continues from checkpoint-2" in dead.stderr and "Traceback" not in dead.stderr
        out = tmp_path / "out"
        assert [log["step"] for log in runs.metrics(out) if "reward" in log] == [1, 2]
        assert (out / "report.html").exists() and not (out / "policy").exists()

        judge.answers_left = float("inf")
        again = runs.train(path)
        assert again.returncode == 2 and "continue it with --resume" in again.stderr
        resumed = runs.train(path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert ", from checkpoint-2;" in resumed.stdout
    assert _weights(out) == _weights(whole[0])
    for name in ("completions_00003.parquet", "completions_00004.parquet"):
        assert pq.read_table(out / "completions" / name) == pq.read_table(whole[0] / "completions" / name)
    assert [log["step"] for log in runs.metrics(out) if "reward" in log] == [1, 2, 3, 4]


def _interruptible() -> None:
    """A process that a shell has put into the background ignores interrupts, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    held, waiting = threading.Event(), threading.Event()

    def answer(body: Json) -> httpx.Response:
        if len(service.bodies) > 2:
            waiting.set()
            held.wait(HUNG_S)
        return answered(scores(body))

    service = Service(answer)
    with served(service) as url:
        path = runs.run_file(tmp_path, url, judging={"judge_timeout_s": 300})
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer_client", "train", str(path), "--toy-judge"],
            env=runs.environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=_interruptible,
        )
        assert waiting.wait(HUNG_S)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HUNG_S)
        held.set()
    assert process.returncode == 130
    assert "rubricd: interrupted; there is no checkpoint yet, so --resume starts from the beginning" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "CUDA out of memory. Tried to\nallocate 9 GiB",
            "CUDA out of memory. Tried to allocate 9 GiB; lower `per_device` or trl.max_completion_length",
        ),
        (
            "probability tensor contains either `inf`, `nan` or element < 0",
            "probability tensor contains either `inf`, `nan` or element < 0; the policy's probabilities are no "
            "numbers: look at its weights, or lower trl.learning_rate",
        ),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: str, said: str
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr("trainer_client.training.train.train", fails)
    with served(Service()) as url:
        assert main(["train", str(runs.run_file(tmp_path, url)), "--toy-judge"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rubricd: ")]
    assert line == (
        f"rubricd: the training ended by RuntimeError: {said}; {tmp_path / 'out' / 'error.txt'} has the traceback; "
        "there is no checkpoint yet, so --resume starts from the beginning"
    )
    assert (tmp_path / "out" / "error.txt").read_text().startswith("Traceback")


def test_a_judge_that_is_replaced_meanwhile_ends_the_run_with_both_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(*_: Any) -> None:
        raise JudgeMismatch("the judge of this mode is judge-2")

    monkeypatch.setattr("trainer_client.training.train.train", replaced)
    with served(Service()) as url:
        assert main(["train", str(runs.run_file(tmp_path, url)), "--toy-judge"]) == 1
    said = capsys.readouterr().err
    assert (
        f"was replaced while the run went on (the judge of this mode is judge-2, and the run began with {FINGERPRINT})"
        in said
    )
    assert "Bring the first judge back, or continue with the new one by --another-judge; there is no checkpoint" in said


def test_an_error_that_cannot_be_written_down_is_one_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        (tmp_path / "out" / "error.txt").mkdir()  # stands for a disk that is full
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer_client.training.train.train", fails)
    with served(Service()) as url:
        assert main(["train", str(runs.run_file(tmp_path, url)), "--toy-judge"]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rubricd: ")]
    assert "No space left on device; " in said and "error.txt could not be written: Is a directory; there is no" in said


def test_what_ended_an_earlier_attempt_is_not_in_the_folder_of_one_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text("Traceback")
    (tmp_path / "error-1.txt").write_text("Traceback")
    run = run_config.read(runs.run_file(tmp_path, "http://judge"))
    run_dir.start(tmp_path, run, {})
    assert not list(tmp_path.glob("error*"))


def test_with_the_real_service_lora_and_held_out_rows(tmp_path: Path) -> None:
    runs.lines(tmp_path / "held.jsonl", HELD_OUT)
    fields: Json = {"eval_data": "held.jsonl", "eval_every": 2, "lora": {"r": 2}, "pipeline_parts": 2, "steps": 2}
    fields |= {"rewards": {"by": "tag"}, "examiner": {"soft": True}}
    with real_service("--engine", "fake") as running:
        done = runs.train(runs.run_file(tmp_path, running.url, **fields))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "policy" / "adapter_model.safetensors").exists()
    assert json.loads((out / "policy" / "adapter_config.json").read_text())["r"] == 2
    evaluated = [log for log in runs.metrics(out) if "eval_reward" in log]
    assert [log["step"] for log in evaluated] == [2]
    assert evaluated[0]["eval_scaffold/revealed_share"] == 0 and evaluated[0]["eval_judge/none_share"] == 0
    assert evaluated[0]["eval_examiner/reward/bare"] != evaluated[0]["eval_reward/bare"]
    assert run_dir.judges(out, "examiners")[0]["fingerprint"] == run_dir.judges(out)[0]["fingerprint"]
    assert "examiner/score" in pq.read_table(out / "completions" / "held_out_00002.parquet").column_names
    (first, *_) = [log for log in runs.metrics(out) if "reward" in log]
    parts = {name: first[f"rewards/judge/{name}/mean"] for name in ("axis:item", "untagged")}
    assert first["reward"] == pytest.approx(sum(parts.values()), abs=1e-5), "the score itself counts for nothing"
    assert first["rewards/judge/mean"] == pytest.approx(first["reward/bare"] * 0.25 + first["reward/scaffolded"] * 0.75)
    assert first["judge/judgements"] + 3 * first["judge/cached_share"] == pytest.approx(3)
    assert "By the examiner" in (out / "report.html").read_text(encoding="utf-8")
    assert "held-out rows" in (out / "report.html").read_text(encoding="utf-8")


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    """Each of two processes has one group's half; only the first writes."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    with served(Service()) as url:
        path = runs.run_file(tmp_path, url, per_device=4, steps=2)
        command = [*launcher, "-m", "trainer_client", "train", str(path), "--toy-judge"]
        done = subprocess.run(command, env=runs.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert done.stdout.count("rubricd: ruscarl") == 1
    assert [log["step"] for log in runs.metrics(out) if "reward" in log] == [1, 2]
    for table in (out / "completions").glob("*.parquet"):
        rollouts = pq.read_table(table, columns=["row", "member"]).to_pylist()
        assert sorted(one["member"] for one in rollouts) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert len({(one["row"], one["member"]) for one in rollouts}) == 8

"""`rubricd score` that is interrupted or killed keeps what was judged, in the order of the input."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from testkit.scripted_judge import Service, answered, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.cli.scoring import Json, results_in, scored_by


def test_lines_stand_in_the_order_of_the_input_whoever_is_done_first(file: Path) -> None:
    second_done = threading.Event()

    def answer(body: Json) -> httpx.Response:
        if body["items"][0]["id"] == "0":
            assert second_done.wait(HUNG_S)
        elif body["items"][0]["id"] == "20":
            second_done.set()
        return answered(scores(body))

    assert scored_by(file, Service(answer), "--batch-items", "10", "--concurrency", "2", "--quiet") == 0
    assert [line["index"] for line in results_in(file.with_name("in.results.jsonl"))] == list(range(50))


def _stopped(file: Path, answered_batch: str, how: signal.Signals) -> tuple[int, str]:
    """Runs the command in a process of its own against a service that answers one batch of ten and lets the others
    hang, and stops it then. Returns its exit code and what it said."""
    hanging, released = threading.Semaphore(0), threading.Event()

    def answer(body: Json) -> httpx.Response:
        if body["items"][0]["id"] != answered_batch:
            hanging.release()
            released.wait(HUNG_S)
        return answered(scores(body))

    with served(Service(answer)) as url:
        command = ["score", str(file), "--url", url, "--batch-items", "10", "--concurrency", "2", "--quiet"]
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer_client", *command],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            text=True,
            # A test run that a shell put into the background ignores interrupts, and manual that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )
        # Two places to send from: once both hang, the one batch has been answered and its answer dealt with.
        assert hanging.acquire(timeout=HUNG_S) and hanging.acquire(timeout=HUNG_S)
        child.send_signal(how)
        _, said = child.communicate(timeout=HUNG_S)
        released.set()
    return child.returncode, said


def test_an_interrupt_keeps_what_was_judged_although_what_comes_before_was_not(file: Path) -> None:
    code, said = _stopped(file, "10", signal.SIGINT)
    assert code == 130 and "interrupted" in said
    assert [line["index"] for line in results_in(file.with_name("in.results.jsonl"))] == list(range(10, 20))


def test_a_kill_keeps_what_was_written(file: Path) -> None:
    code, _ = _stopped(file, "0", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert [line["index"] for line in results_in(file.with_name("in.results.jsonl"))] == list(range(10))

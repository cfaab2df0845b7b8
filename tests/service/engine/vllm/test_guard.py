"""A service that is killed leaves nothing of vLLM; here a made-up service with a sleeper for its engine."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from testkit.waiting import HUNG_S

ROOT = Path(__file__).resolve().parents[4]
SERVICE = """
import subprocess, sys, time
from service.engine.vllm.guard import Guard
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
guard = Guard()
guard.add([sleeper.pid])
if sys.argv[1] == "ended":
    guard.stop()
    guard.stop()
print(sleeper.pid, flush=True)
time.sleep(600)
"""


def gone(process: psutil.Process, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(("guard", "left"), [("there", False), ("ended", True)])
def test_processes_that_the_guard_knows_end_with_the_service(guard: str, left: bool) -> None:
    service = subprocess.Popen([sys.executable, "-c", SERVICE, guard], cwd=ROOT, stdout=subprocess.PIPE)
    with service:
        assert service.stdout is not None
        sleeper = psutil.Process(int(service.stdout.readline()))
        assert not gone(sleeper, 0.3)
        service.kill()
    try:
        assert gone(sleeper, 1.0 if left else HUNG_S) is not left
    finally:
        if sleeper.is_running():
            sleeper.kill()

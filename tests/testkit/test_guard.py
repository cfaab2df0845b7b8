"""Nothing that a guard started is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testkit import guard
from testkit.processes import ROOT

_FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def _gone(pid: int) -> bool:
    return pid not in guard.descendants(1) and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", ["its pipe closes", "its owner is killed"])
def test_a_guard_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    guarded = [sys.executable, "-m", guard.__name__, sys.executable, "-c", _FAMILY]
    owner = (
        "import subprocess, sys, time\n"
        "subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "time.sleep(60)\n"
    )  # fmt: skip
    command = guarded if how == "its pipe closes" else [sys.executable, "-c", owner, *guarded]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        os.kill(pids[1], signal.SIGSTOP)
        if how == "its pipe closes":
            process.stdin.close()
        else:
            process.kill()
        deadline = time.monotonic() + 20
        while not all(map(_gone, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(map(_gone, pids))

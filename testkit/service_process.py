"""The service as a real process on a free loopback port."""

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
START_S = 240.0


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    process: subprocess.Popen[str]


@contextmanager
def service(*flags: str, module: str = "service", ready: bool = True) -> Iterator[Running]:
    """`python -m service` with these flags, ready. `module` is run in its place; `ready` False: it listens only."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--port", "0", *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    # A pipe that nobody reads fills up and stops the service.
    reading = threading.Thread(target=lambda: deque(process.stderr or (), maxlen=0), daemon=True)
    try:
        running = Running(_url(process), process)
        reading.start()
        if ready:
            _until_ready(running)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)
        if reading.is_alive():
            reading.join(timeout=10)
        if process.stderr is not None:
            process.stderr.close()


def refused(*flags: str) -> tuple[int, str]:
    """Exit status and stderr of a service that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "--port", "0", *flags],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stderr


def runs(pid: int) -> bool:
    """It is there, and no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on (http://\S+:\d+)", line):
            return found.group(1)
    raise AssertionError(f"the service ended with {process.wait()} before it listened")


def _until_ready(running: Running) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.process.poll() is None:
        with contextlib.suppress(httpx.TimeoutException):  # its imports, on a machine that does much else
            if httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the service was not ready after {START_S} s")

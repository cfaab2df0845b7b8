"""The service as a real process on a free loopback port."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    process: subprocess.Popen[str]


@contextmanager
def service(*flags: str) -> Iterator[Running]:
    """`python -m service` with these flags, ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0", *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        running = Running(_url(process), process)
        _until_ready(running)
        yield running
    finally:
        process.terminate()
        process.communicate(timeout=60)


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


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on (http://\S+:\d+)", line):
            return found.group(1)
    raise AssertionError(f"the service ended with {process.wait()} before it listened")


def _until_ready(running: Running) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.process.poll() is None:
        if httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError(f"the service was not ready after {START_S} s")

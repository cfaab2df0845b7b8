"""A contestant's processes: started under a guard, watched until they serve, their CPU time counted by part.

Always true: every host ends with the block that started it, and with this process however it dies (guard.py).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from testkit import guard

ROOT = Path(__file__).resolve().parents[1]
START_S = 240.0
LOG_LINES = 12
Split = Literal["processes", "threads"]


class Failed(RuntimeError):
    """A contestant did not start or did not answer; its message says why."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU in the process that clients talk to, and in what computes."""

    front_end: float
    engine: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.front_end - other.front_end, self.engine - other.engine)


@dataclass(frozen=True, slots=True)
class Host:
    """`split` says what tells the engine from the front end: vLLM's own processes, or every thread but the main one."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int
    ready: str
    split: Split

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> Cpu:
        front_end = engine = 0.0
        for member in _tree(self.process.pid)[1:]:
            with contextlib.suppress(psutil.Error):
                whole = sum(member.cpu_times()[:2])
                if self.split == "threads":
                    main = sum(t.user_time + t.system_time for t in member.threads() if t.id == member.pid)
                    front_end, engine = front_end + main, engine + whole - main
                elif any("VLLM::" in part for part in (member.name(), *member.cmdline()[:1])):
                    engine += whole
                else:
                    front_end += whole
        return Cpu(front_end, engine)

    def memory(self) -> int:
        """Resident bytes of all its processes."""
        total = 0
        for member in _tree(self.process.pid):
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
        return total

    def pause(self) -> None:
        """Stop its processes where they are."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for member in _tree(self.process.pid)[1:]:
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)

    def until_ready(self, within_s: float = START_S) -> None:
        """Wait until it answers that it is ready. Raises Failed where it ends or never does."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}{self.ready}", timeout=10) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.2)
        why = "ended" if self.process.poll() is not None else f"was not ready within {within_s:.0f} s"
        raise Failed(f"it {why}; its log ends:\n{self.last_words()}")

    def last_words(self) -> str:
        """Its log's last lines."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def _tree(pid: int) -> list[psutil.Process]:
    try:
        guarded = psutil.Process(pid)
        return [guarded, *guarded.children(recursive=True)]
    except psutil.Error:
        return []


@contextlib.contextmanager
def hosted(
    command: list[str], *, log: Path, port: int, ready: str, env: Mapping[str, str], split: Split = "processes"
) -> Iterator[Host]:
    """The command as a host, once `GET ready` answers 200. Raises Failed with its log's end where it never does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", guard.__name__, *command],
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    host = Host(process, log, port, ready, split)
    try:
        host.until_ready()
        yield host
    finally:
        host.resume()
        if process.stdin is not None:
            process.stdin.close()
        process.wait()

"""Starts servers as real processes on free loopback ports, and waits until they serve.

`service` starts the service itself, as its command line does; tests signal it and read its log. `hosted` starts any
server under a guard, and counts the CPU time of its parts: a load test measures with it. Both end with the block that
started them; what `hosted` started also ends with this process, however it dies (guard.py).
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from testkit import guard
from testkit.waiting import HUNG_S, START_S

ROOT = Path(__file__).resolve().parents[1]
LOG_LINES = 12
ENGINES = ("VLLM::", "rubricd-judge")
"""What the processes of engines are called: vLLM's own, and that of engine `local`."""


class Failed(RuntimeError):
    """A server did not start or did not answer; its message says why."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU in the process that clients talk to, and in what computes."""

    front_end: float
    engine: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.front_end - other.front_end, self.engine - other.engine)


@dataclass(frozen=True, slots=True)
class Host:
    process: subprocess.Popen[bytes]
    log: Path
    port: int
    ready: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> Cpu:
        front_end = engine = 0.0
        for member in _tree(self.process.pid)[1:]:
            with contextlib.suppress(psutil.Error):
                whole = sum(member.cpu_times()[:2])
                if any(name in part for part in (member.name(), *member.cmdline()[:1]) for name in ENGINES):
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
        raise Failed(f"it {why}; its log ends:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Its log's last lines."""
        return _tail(self.log)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        guarded = psutil.Process(pid)
        return [guarded, *guarded.children(recursive=True)]
    except psutil.Error:
        return []


@contextlib.contextmanager
def hosted(command: list[str], *, log: Path, port: int, ready: str, env: Mapping[str, str]) -> Iterator[Host]:
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
    host = Host(process, log, port, ready)
    try:
        host.until_ready()
        yield host
    finally:
        host.resume()
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """The service's own process. `log` is the file that its stderr goes to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def service(
    *flags: str, module: str = "service", ready: bool = True, log: Path | None = None, within_s: float = START_S
) -> Iterator[Running]:
    """`python -m service serve` with these flags on a port that it chooses, ready to judge.

    `module` is run in its place; with `ready` False it listens only; `log` is kept where it is given. Raises Failed
    with the log's end where it does not come so far within `within_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="rubricd-service-") as folder:
        file = log or Path(folder) / "log"
        with file.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "serve", "--port", "0", *flags], cwd=ROOT, stderr=stderr
            )
        try:
            running = Running(_listening_at(process, file, within_s), process, file)
            if ready:
                _until_ready(running, within_s)
            yield running
        finally:
            process.terminate()
            process.wait(timeout=HUNG_S)


def refused(*flags: str) -> tuple[int, str]:
    """Exit status and stderr of a service that does not start."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", *flags]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=HUNG_S)
    return done.returncode, done.stderr


def runs(pid: int) -> bool:
    """Returns whether the process exists and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _listening_at(process: subprocess.Popen[bytes], log: Path, within_s: float) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        ended = process.poll()  # before the log is read: what it wrote last counts
        if found := re.search(r"listening on (http://[^\s;\"]+:\d+)", log.read_text(errors="replace")):
            return found.group(1)
        if ended is not None:
            raise Failed(f"the service ended with {ended} before it listened:\n{_tail(log)}")
        time.sleep(0.02)
    raise Failed(f"the service did not listen within {within_s:.0f} s:\n{_tail(log)}")


def _until_ready(running: Running, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and running.process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{running.url}/readyz", timeout=10) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise Failed(f"the service was not ready within {within_s:.0f} s:\n{_tail(running.log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])

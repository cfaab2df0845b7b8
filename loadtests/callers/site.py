"""Starts what the attacks go to: one service, or two behind the shipped nginx, each watched for its memory.

Guarantees: a replica that holds more than its limit is killed, as a container's limit kills it, and is counted.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from loadtests.callers.rows import Site
from testkit import teams_file
from testkit.free_port import free_port
from testkit.nginx import nginx
from testkit.processes import Host, hosted

LIMIT_BYTES = 3 << 30
"""What the shipped manifests give a replica."""
WATCH_S = 0.1
FEW_DESCRIPTORS = 300
VICTIM, ATTACKER, REVOKED = "victim", "attacker", "revoked"
TEAMS = (VICTIM, ATTACKER, REVOKED)


@dataclass(slots=True)
class Replica:
    """A service's processes. `peak_bytes` is the most that they held since it was last set to 0."""

    host: Host
    peak_bytes: int = 0
    killed: int = 0
    pids: list[int] = field(default_factory=list)

    def find(self) -> None:
        """Looks for its processes; the first is the service's own."""
        with contextlib.suppress(psutil.Error):
            self.pids = [child.pid for child in psutil.Process(self.host.process.pid).children(recursive=True)]

    def rss_bytes(self) -> int:
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def waited_s(self) -> float:
        """How long the thread of its event loop has waited for a core, since it began: the machine's time, not its."""
        try:
            pid = self.pids[0]
            return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    @property
    def alive(self) -> bool:
        return self.host.process.poll() is None

    def watch(self) -> None:
        """One look: the peak, and the limit."""
        rss_bytes = self.rss_bytes()
        self.peak_bytes = max(self.peak_bytes, rss_bytes)
        if rss_bytes > LIMIT_BYTES and self.alive:
            self.killed += 1
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.pids = []


@dataclass(frozen=True, slots=True)
class Front:
    """`port` is where requests go: to the one replica, or to nginx before several."""

    port: int
    replicas: Sequence[Replica]
    teams: Path | None

    @property
    def rss_bytes(self) -> int:
        return sum(replica.rss_bytes() for replica in self.replicas)

    @property
    def healthy(self) -> bool:
        """Returns whether every replica answers, within some seconds."""
        try:
            return all(httpx.get(f"{one.host.url}/readyz", timeout=10).status_code == 200 for one in self.replicas)
        except httpx.HTTPError:
            return False

    @property
    def killed(self) -> int:
        """By their memory, or by a request."""
        return sum(replica.killed or not replica.alive for replica in self.replicas)


@contextmanager
def front(site: Site, engine: str = "local") -> Iterator[Front]:
    """The site, ready to judge."""
    with tempfile.TemporaryDirectory(prefix="rubricd-callers-") as name, ExitStack() as stack:
        folder = Path(name)
        teams = None
        if site != "no teams":
            teams = teams_file.write(folder / "teams.json", *map(teams_file.team, TEAMS))
        count = 2 if site in ("nginx", "mortal") else 1
        replicas = [
            Replica(stack.enter_context(_service(site, engine, teams, folder / f"log{n}"))) for n in range(count)
        ]
        port = replicas[0].host.port
        if count > 1:
            url = stack.enter_context(nginx(folder, [replica.host.url for replica in replicas]))
            port = int(url.rpartition(":")[2])
        stack.enter_context(_watched(replicas))
        yield Front(port, replicas, teams)


@contextmanager
def _service(site: Site, engine: str, teams: Path | None, log: Path) -> Iterator[Host]:
    port = free_port()
    module, env = "service", {}
    if site == "mortal":
        module, engine, env = "testkit.faulty_service", "fake", {"FAULTS": str(log.with_suffix(".faults"))}
    command = [sys.executable, "-m", module, "serve", "--engine", engine, "--port", str(port), "--canary-every-s", "0"]
    if teams is not None:
        command += ["--teams", str(teams)]
    if site == "few descriptors":
        command = ["prlimit", f"--nofile={FEW_DESCRIPTORS}:{FEW_DESCRIPTORS}", *command]
    with hosted(command, log=log, port=port, ready="/readyz", env=env) as host:
        yield host


@contextmanager
def _watched(replicas: Sequence[Replica]) -> Iterator[None]:
    ended = threading.Event()

    def watch() -> None:
        looked_s = -1.0
        while not ended.wait(WATCH_S):
            if time.monotonic() - looked_s > 2:
                for replica in replicas:
                    replica.find()
                looked_s = time.monotonic()
            for replica in replicas:
                replica.watch()

    for replica in replicas:
        replica.find()
    watcher = threading.Thread(target=watch, name="memory")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()

"""The cluster of cluster.py, from a test: what it serves, whom to kill, and that nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from testkit.free_port import free_port
from testkit.processes import ROOT, runs
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S

WAIT_S = HUNG_S
HOLDS = ("rubricd_queued_tokens ", "rubricd_in_flight_tokens ")
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_TOKEN": "of-the-tests",  # else Ray keeps one in the home folder
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.2",
    # On a busy machine the proxy takes longer than the 5 s after which Ray would replace it again and again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "240",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "240",
    "RUBRICD_ENGINE": "fake",
    "RUBRICD_CANARY_EVERY_S": "0",
    "RUBRICD_REDIS_TIMEOUT_S": "60",
    "RUBRICD_MAX_ITEMS": "16",
    "RUBRICD_MAX_CRITERIA": "8",
    "RUBRICD_MAX_QUEUE_S": "30",
    "RUBRICD_DRAIN_S": "5",
}


@dataclass(frozen=True, slots=True)
class Replica:
    name: str
    pid: int
    node: str


class Nodes:
    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.deployed: dict[str, Any] = {}
        self.said: deque[str] = deque(maxlen=200)
        self._process = process
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def deploy(self, **options: Any) -> list[Replica]:
        self.deployed = options
        return self._told({"deploy": options})

    def replicas(self) -> list[Replica]:
        """Those that run. Ray takes some seconds to see that one was killed."""
        return [one for one in self._told({"replicas": None}) if runs(one.pid)]

    def until(self, enough: Callable[[list[Replica]], bool]) -> list[Replica]:
        """The running replicas once they are so."""
        until = time.monotonic() + WAIT_S
        while not enough(found := self.replicas()):
            assert time.monotonic() < until, f"still {found}"
            time.sleep(0.1)
        return found

    def targets(self) -> dict[str, str]:
        """Returns where metrics are read, by replica."""
        found = httpx.get(f"{self.url}/metrics/targets", timeout=HUNG_S).json()
        return {one["labels"]["replica"]: one["targets"][0] for one in found}

    def metric(self, replica: Replica, line: str) -> float:
        """A sample of a replica's own page; 0 where nothing was counted yet."""
        page = httpx.get(f"http://{self.targets()[replica.name]}/metrics", timeout=HUNG_S).text
        return next((float(one.rpartition(" ")[2]) for one in page.splitlines() if one.startswith(line)), 0.0)

    @contextmanager
    def away(self, replica: Replica) -> Iterator[None]:
        """Its engine is gone, and comes back by itself."""
        with self._file(f"down-{replica.pid}"):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """No engine answers."""
        with self._file("hold"):
            yield

    @contextmanager
    def _file(self, name: str) -> Iterator[None]:
        (self.folder / name).touch()
        try:
            yield
        finally:
            (self.folder / name).unlink()

    def close(self) -> list[str]:
        """Returns what had to be killed."""
        everybody = self._everybody()
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=WAIT_S)
        _, left = psutil.wait_procs(everybody, timeout=HUNG_S)
        names = [one.name() for one in left if one.is_running()]
        for one in left:
            one.kill()
        self._reading.join(timeout=HUNG_S)
        self._process.stdout.close()
        return names

    def _everybody(self) -> list[psutil.Process]:
        """All processes of the cluster, also where the one that started them has died."""
        found = set(psutil.Process(self._process.pid).children(recursive=True))
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.pid != os.getpid() and one.environ().get("RAY_TEST") == str(self.folder):
                    found.add(one)
        return [one for one in found if one.pid != self._process.pid]

    def _told(self, command: dict[str, Any]) -> list[Replica]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the cluster ended: " + "".join(self.said)
        return [Replica(**one) for one in json.loads(answer)]

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            self.said.extend(said)


@contextmanager
def nodes(**settings: str) -> Iterator[Nodes]:
    """Two Ray nodes with nothing deployed yet, and a Redis. Team `a` may do anything, `b` may not ask for training and
    has a small quota. With engine `fake` the judge is the slow one of engines.py."""
    with tempfile.TemporaryDirectory(prefix="rubricd-ray-") as name, RedisServer() as redis:
        folder = Path(name)
        small = team("b", classes=["eval"], quota={"requests_per_minute": 3})
        teams = write(folder / "teams.json", team("a", quota={"concurrent_tokens": 100_000_000}), small)
        own = {"RAY_TEST": name, "RUBRICD_REDIS_URL": redis.url, "RUBRICD_TEAMS": str(teams)}
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "testkit.ray.cluster", str(port)],
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT, **settings, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Nodes(process, f"http://127.0.0.1:{port}", folder)
        try:
            yield running
        finally:
            left = running.close()
        assert not left, f"left behind: {left}"


def client(nodes: Nodes, name: str = "a") -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=100)
    return httpx.AsyncClient(base_url=nodes.url, headers=auth(name), timeout=HUNG_S, limits=limits)


def kill(replica: Replica) -> None:
    """It runs no more."""
    os.kill(replica.pid, signal.SIGKILL)
    while runs(replica.pid):
        time.sleep(0.005)

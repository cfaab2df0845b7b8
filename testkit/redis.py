"""A real redis-server of the tests' own: alone, as a cluster of one node, or behind a sentinel; to be killed, stopped
and started again."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from testkit.free_port import free_port
from testkit.waiting import HUNG_S, wait_until


class RedisServer:
    """`config` are more arguments of redis-server, such as ("--maxmemory", "1mb")."""

    def __init__(self, *config: str, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.folder = Path(tempfile.mkdtemp(prefix="rubricd-redis-"))
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def command(self) -> list[str]:
        port, folder = str(self.port), str(self.folder)
        found = shutil.which("redis-server")
        assert found is not None, "there is no redis-server: make .venv/redis"
        quiet = ("--save", "", "--appendonly", "no", "--rdbcompression", "no", "--loglevel", "warning")
        return [found, "--port", port, "--bind", "127.0.0.1", "--dir", folder, *quiet, *self._config]

    def start(self, *, answers: bool = True) -> None:
        """On the same port; waits until it answers, unless it is not to."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        if answers:
            self.wait()

    def wait(self) -> None:
        """Raises AssertionError where it does not answer in time."""
        until = time.monotonic() + HUNG_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.02)

    def load_slowly(self) -> None:
        """Starts it again with 300 keys of 5000 bytes. It listens, and would take half a minute to load them: `loaded`
        ends that."""
        self.do("EVAL", "for n = 1, 300 do redis.call('SET', n, string.rep('x', 5000)) end", 0)
        self.do("SAVE")
        self.restart("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024", answers=False)
        wait_until(self._listens)

    def loaded(self) -> None:
        """It loads what is left without a pause, and answers."""
        self.do("CONFIG", "SET", "key-load-delay", 0)
        self.wait()

    def _listens(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self) -> redis.Redis:
        """A plain client, for what a test does behind the service's back. Close it."""
        return redis.Redis(port=self.port, protocol=2)

    def do(self, *words: bytes | str | int) -> object:
        """One command by a connection of its own."""
        with self.client() as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        """Ends it; its data is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *config: str, answers: bool = True) -> None:
        """With more arguments, if given; what was saved is loaded."""
        self.kill()
        self._config += config
        self.start(answers=answers)

    def stop(self) -> None:
        """It keeps its connections and answers nobody, until `cont`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisClusterServer(RedisServer):
    """One node that has all slots."""

    def __init__(self) -> None:
        self._slots = False
        super().__init__("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")

    def start(self, *, answers: bool = True) -> None:
        super().start(answers=answers)
        if not self._slots:
            self.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            self._slots = True
        until = time.monotonic() + HUNG_S
        while b"cluster_state:ok" not in repr(self.do("CLUSTER", "INFO")).encode():
            assert time.monotonic() < until, "the cluster does not form"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.port}"


class RedisSentinel(RedisServer):
    """Watches `master` under the name `judges`. A failover is asked for, not waited for."""

    def __init__(self, master: RedisServer) -> None:
        self.master = master
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/judges"

    def command(self) -> list[str]:
        conf = self.folder / "sentinel.conf"
        conf.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor judges 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds judges 60000\nsentinel failover-timeout judges 2000\n"
        )
        return [super().command()[0], str(conf), "--sentinel"]

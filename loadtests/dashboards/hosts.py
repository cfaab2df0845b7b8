"""The services that the dashboards are looked at with: one of each engine, and two of a judge that fails in every way.

Guarantees: They end with the block that started them, and so does their Redis.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.dashboards import faulty
from testkit import teams_file
from testkit.free_port import free_port
from testkit.processes import Host, hosted
from testkit.redis import RedisServer

METERED = "metered"
TEAMS: tuple[dict[str, Any], ...] = (
    teams_file.team("medicine", weight=3),
    teams_file.team("science"),
    teams_file.team("writing", quota={"concurrent_tokens": 200_000}),
    teams_file.team(
        METERED,
        quota={
            "tokens_per_minute": 20_000,
            "requests_per_minute": 60,
            "concurrent_tokens": 20_000,
            "rule_seconds_per_minute": 60,
        },
    ),
)
NAMES = tuple(one["name"] for one in TEAMS)
CANARY_S = 3.0
LOCAL, VLLM, FAULTY, TWIN = "local", "vllm", "faulty", "faulty twin"
_FLAGS = {
    LOCAL: ("service", "serve", "--engine", "local"),
    VLLM: ("service", "serve", "--engine", "vllm", "--vllm-kv-cache-gb", "0.25", "--max-model-len", "1024"),
    FAULTY: (faulty.__name__, "--engine", "fake", "--max-queued-tokens", "15000"),
    TWIN: (faulty.__name__, "--engine", "fake", "--max-queued-tokens", "15000"),
}


@dataclass(frozen=True, slots=True)
class Hosts:
    """The services by name; they share teams, and `redis`."""

    services: dict[str, Host]
    redis: RedisServer

    @property
    def targets(self) -> list[str]:
        return [f"127.0.0.1:{host.port}" for host in self.services.values()]


@contextmanager
def hosts(folder: Path, names: tuple[str, ...] = tuple(_FLAGS)) -> Iterator[Hosts]:
    """All of them, ready; they start and end at the same time. Raises Failed where one does not start."""
    file = teams_file.write(folder / "teams.json", *TEAMS)
    with RedisServer() as redis, ExitStack() as all_of_them:
        stacks = {name: all_of_them.enter_context(ExitStack()) for name in names}
        with ThreadPoolExecutor(len(names)) as pool:
            starting = {
                name: pool.submit(stack.enter_context, _service(folder, name, file, redis.url))
                for name, stack in stacks.items()
            }
            try:
                yield Hosts({name: one.result() for name, one in starting.items()}, redis)
            finally:
                wait(starting.values())
                wait([pool.submit(stack.close) for stack in stacks.values()])


@contextmanager
def _service(folder: Path, name: str, file: Path, redis_url: str) -> Iterator[Host]:
    module, *flags = _FLAGS[name]
    port = free_port()
    common = ["--port", str(port), "--teams", str(file), "--canary-every-s", str(CANARY_S), "--protocol-neutral", "0"]
    command = [sys.executable, "-m", module, *flags, *common, "--drain-s", "1", "--redis-timeout-s", "1"]
    env = {"RUBRICD_REDIS_URL": redis_url}
    with hosted(command, log=folder / f"{name}.log", port=port, ready="/readyz", env=env) as host:
        yield host

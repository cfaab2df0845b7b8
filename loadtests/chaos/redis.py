"""Measures what a fault of Redis costs: eight kinds of faults, 500 requests each, against the real service and a real
Redis.

The service (`python -m service serve --engine fake`) has no verdicts in memory, so that every request goes to Redis.
Its answers are compared with those of a service without Redis. The test is passed where no answer is a 5xx and no
verdict is another; how much slower the slowest hundredth became is printed beside it.

    python -m loadtests.chaos.redis [--requests 500] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from testkit.free_port import free_port
from testkit.processes import hosted
from testkit.redis import RedisServer

BODIES, CALLERS = 100, 4
Truth = dict[int, list[float]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault says what is done to Redis before the requests, while they come (every tenth), and after them."""

    name: str
    config: tuple[str, ...] = ()
    before: Callable[[RedisServer], object] = lambda server: None
    during: Callable[[RedisServer], object] = lambda server: None
    after: Callable[[RedisServer], object] = lambda server: None


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds; `faults` are those that the service counted."""

    requests: int
    errors_5xx: int
    wrong: int
    cache_hits: int
    faults: int
    p50_ms: float
    p99_ms: float


def main() -> int:
    """Exit status 0 where nothing was wrong."""
    options = _options()
    found: dict[str, Figures] = {}
    with _service(None) as url:
        truth = asyncio.run(_truth(url))
    for fault in tqdm(FAULTS, desc="faults"):
        with RedisServer(*fault.config) as server, _service(server.url) as url:
            found[fault.name] = asyncio.run(_inject(fault, server, url, truth, options.requests))
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1) + "\n")
    return int(any(one.errors_5xx or one.wrong for one in found.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos.redis", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each fault (500)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


_EVERY_OTHER = """
for n, key in ipairs(redis.call('KEYS', 'rubricd:v:*')) do
  if n %% 2 == 0 and redis.call('TYPE', key).ok == 'string' then %s end
end
"""
_WRONG_TYPE = _EVERY_OTHER % "redis.call('DEL', key); redis.call('RPUSH', key, 'no verdict')"
_GONE = _EVERY_OTHER % "redis.call('DEL', key)"
_FLIPPED = (
    _EVERY_OTHER
    % """
    local value = redis.call('GET', key)
    redis.call('SETRANGE', key, #value - 1, string.char(bit.bxor(string.byte(value, -1), 1)))"""
)


def _read_only(server: RedisServer) -> None:
    server.do("EVAL", _GONE, 0)
    server.do("REPLICAOF", "127.0.0.1", 1)


def _loading(server: RedisServer) -> None:
    """Starts from a dump that takes longer to load than the test does."""
    server.do("SAVE")
    server.restart(answers=False)


FAULTS: tuple[Fault, ...] = (
    Fault("none"),
    Fault("killed", before=lambda server: server.kill()),
    Fault("stopped, answers nobody", before=lambda server: server.stop(), after=lambda server: server.cont()),
    Fault("out of memory", config=("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")),
    Fault("loading its data", config=("--key-load-delay", "50000"), before=_loading),
    Fault("read only", before=_read_only),
    Fault("wrong type at every other key", during=lambda server: server.do("EVAL", _WRONG_TYPE, 0)),
    Fault("every other value corrupted", during=lambda server: server.do("EVAL", _FLIPPED, 0)),
    Fault("everything evicted", during=lambda server: server.do("FLUSHALL")),
)


@contextmanager
def _service(redis_url: str | None) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--engine", "fake", "--port", str(port)]
    env = {} if redis_url is None else {"RUBRICD_REDIS_URL": redis_url}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with hosted(
            [*command, "--cache-entries", "0", "--canary-every-s", "0"], log=log, port=port, ready="/readyz", env=env
        ) as host:
            yield host.url


def _body(n: int) -> dict[str, Any]:
    rubric = [{"text": f"Says what criterion {n} {k} says.", "points": 1} for k in range(12)]
    return {"items": [{"prompt": f"Question {n}?", "response": f"Answer {n}. " * 20, "rubric": rubric}]}


def _verdicts(answer: dict[str, Any]) -> list[float]:
    return [criterion["p"] for result in answer["results"] for criterion in result["criteria"]]


async def _truth(url: str) -> Truth:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return {n: _verdicts((await client.post("/v1/score", json=_body(n))).json()) for n in range(BODIES)}


async def _inject(fault: Fault, server: RedisServer, url: str, truth: Truth, requests: int) -> Figures:
    times: list[float] = []
    errors = wrong = hits = 0
    numbers = iter(range(requests))

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for n in range(BODIES):  # what is known before the fault
            await client.post("/v1/score", json=_body(n))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(fault.before, server)

        async def call() -> None:
            nonlocal errors, wrong, hits
            for n in numbers:
                if n % 10 == 0:
                    await asyncio.to_thread(fault.during, server)
                began = time.perf_counter()
                answer = await client.post("/v1/score", json=_body(n % BODIES))
                times.append(1000 * (time.perf_counter() - began))
                errors += answer.status_code >= 500
                if answer.status_code == 200:
                    wrong += _verdicts(answer.json()) != truth[n % BODIES]
                    hits += answer.json()["usage"]["cache_hits"]

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        faults = _counted((await client.get("/metrics")).text)
        await asyncio.to_thread(fault.after, server)
    times.sort()
    return Figures(len(times), errors, wrong, hits, faults, _share(times, 0.5), _share(times, 0.99))


def _counted(page: str) -> int:
    lines = [line for line in page.splitlines() if line.startswith("rubricd_redis_faults_total")]
    return int(sum(float(line.rsplit(maxsplit=1)[1]) for line in lines))


def _share(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def table(found: dict[str, Figures]) -> str:
    """`added` is over the run without a fault."""
    lines = [
        "| fault | requests | 5xx | wrong | faults counted | p50, ms | p99, ms | added p99, ms |",
        "|---" * 8 + "|",
    ]
    usual = found["none"].p99_ms
    for name, one in found.items():
        lines.append(
            f"| {name} | {one.requests} | {one.errors_5xx} | {one.wrong} | {one.faults} | {one.p50_ms:.1f} "
            f"| {one.p99_ms:.1f} | {one.p99_ms - usual:+.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

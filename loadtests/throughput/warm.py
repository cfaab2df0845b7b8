"""The warm path: verdicts that are known, through HTTP, from memory and from Redis.

Guarantees: Requests hold 32 responses with 12 criteria each. Every verdict of a measured answer is from the cache. The
judge is the fake one, which has nothing to do. `per_core` counts the service's own CPU time, not the client's or
Redis's.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtests.throughput.workload import CRITERIA, sentences
from testkit.free_port import free_port
from testkit.http_client import Client
from testkit.processes import Failed, Host, hosted
from testkit.redis import RedisServer

RESPONSES, GROUP = 32, 8
VERDICTS = RESPONSES * CRITERIA
BODIES, IN_FLIGHT = 16, 4
WORDS_RESPONSE, WORDS_CRITERION, WORDS_CONVERSATION = 400, 20, 400


@dataclass(frozen=True, slots=True)
class Warm:
    """CPU in seconds; `redis_cpu` is Redis's own."""

    verdicts: int
    seconds: float
    service_cpu: float
    redis_cpu: float

    @property
    def per_core(self) -> float:
        return self.verdicts / self.service_cpu

    @property
    def per_second(self) -> float:
        return self.verdicts / self.seconds

    def told(self) -> dict[str, float]:
        return {
            "verdicts_per_core": self.per_core,
            "verdicts_per_second": self.per_second,
            "service_cpu_us_per_verdict": 1e6 * self.service_cpu / self.verdicts,
            "redis_cpu_us_per_verdict": 1e6 * self.redis_cpu / self.verdicts,
        }


def bodies(count: int, shape: str) -> list[bytes]:
    """Requests of 32 responses: in groups of eight, or as items of their own."""
    return [json.dumps({"items": _items(f"{shape} {n}", shape)}).encode() for n in range(count)]


def _items(seed: str, shape: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = []
    for g in range(RESPONSES // GROUP):
        rubric = [
            {"text": sentences(f"{seed} {g} criterion {n}", WORDS_CRITERION), "points": 1} for n in range(CRITERIA)
        ]
        asked = {"prompt": sentences(f"{seed} {g} prompt", WORDS_CONVERSATION), "rubric": rubric}
        responses = [sentences(f"{seed} {g} response {n}", WORDS_RESPONSE) for n in range(GROUP)]
        if shape == "groups":
            items.append({**asked, "responses": responses})
        else:
            items += [{**asked, "response": response} for response in responses]
    return items


def measure(seconds: float, logs: Path) -> dict[str, Warm]:
    """By where verdicts are found and how requests are shaped. Raises Failed."""
    found: dict[str, Warm] = {}
    with RedisServer() as redis:
        watched = psutil.Process(redis.pid)
        for tier, entries in (("memory", 1_000_000), ("redis", 0)):
            flags = ["--engine", "fake", "--canary-every-s", "0", "--cache-entries", str(entries)]
            with _service(flags, redis.url, logs / f"warm_{tier}.log") as host:
                for shape in ("groups", "items"):
                    asked = bodies(BODIES, shape)
                    found[f"{tier}, {shape}"] = asyncio.run(_measure(host, watched, asked, seconds))
    return found


async def _measure(host: Host, redis: psutil.Process, asked: Sequence[bytes], seconds: float) -> Warm:
    async with Client(host.port) as client:
        for body in asked:
            await client.post("/v1/score", body)
        await asyncio.sleep(0.5)  # values are written behind
        began, cpu, redis_cpu = time.perf_counter(), host.cpu(), sum(redis.cpu_times()[:2])
        answers = await _ask(client, asked, began + seconds)
        took, used = time.perf_counter() - began, host.cpu() - cpu
        redis_cpu = sum(redis.cpu_times()[:2]) - redis_cpu
    hits = sum(json.loads(answer)["usage"]["cache_hits"] for answer in answers)
    if hits != len(answers) * VERDICTS:
        raise Failed(f"{hits} of {len(answers) * VERDICTS} verdicts were from the cache")
    return Warm(hits, took, used.front_end + used.engine, redis_cpu)


async def _ask(client: Client, asked: Sequence[bytes], until: float) -> list[bytes]:
    answers: list[bytes] = []

    async def go_on(first: int) -> None:
        """Bodies of its own: two callers with the same one would wait for each other."""
        for body in itertools.cycle(asked[first::IN_FLIGHT]):
            if time.perf_counter() >= until:
                return
            answers.append(await client.post("/v1/score", body))

    await asyncio.gather(*(go_on(first) for first in range(IN_FLIGHT)))
    return answers


@contextlib.contextmanager
def _service(flags: Sequence[str], redis_url: str, log: Path) -> Iterator[Host]:
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), *flags]
    with hosted(command, log=log, port=port, ready="/readyz", env={"RUBRICD_REDIS_URL": redis_url}) as host:
        yield host


def table(found: dict[str, Warm]) -> str:
    heads = ("found in, request of", "verdicts/s a core", "verdicts/s", "service CPU, us a verdict", "Redis CPU, us")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, warm in found.items():
        told = warm.told()
        lines.append(
            f"| {name} | {warm.per_core:,.0f} | {warm.per_second:,.0f} | "
            f"{told['service_cpu_us_per_verdict']:.1f} | {told['redis_cpu_us_per_verdict']:.1f} |"
        )
    return "\n".join(lines)

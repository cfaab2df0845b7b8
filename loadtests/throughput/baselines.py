"""Defines the baselines, and how each is queried for the same verdicts.

Guarantees: What is sent is made before the clock starts and what came back is read after it stops. An answer with fewer
verdicts than asked for fails the baseline. Every baseline over HTTP has the same number of responses in flight,
except where its pattern says how many calls it makes at a time.
"""

import asyncio
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loadtests.throughput.figures import Pass
from loadtests.throughput.requests import DECODED, Prompts
from loadtests.throughput.workload import Group
from testkit.http_client import Client
from testkit.prefix_cache_bound import cached
from testkit.processes import Failed, Host

PATTERN_THREADS = 64
BLOCK = 128


@dataclass(frozen=True, slots=True)
class Unit:
    """Requests whose verdicts are wanted together: a response's, or a group's where one request holds a group."""

    bodies: tuple[bytes, ...]
    verdicts: int


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """An answer's content: how many verdicts, and the tokens of prompts and decoding where it tells."""

    verdicts: int
    prompt_tokens: int
    cached_tokens: int = 0
    decoded_tokens: int = 0


class Baseline(Protocol):
    name: str
    host: Host

    async def cold(self) -> None:
        """Forget what earlier work left behind."""
        ...

    async def judge(self, work: Sequence[Group]) -> Pass:
        """One measured pass."""
        ...


class OverHttp:
    """Asks a server. `in_flight` units at a time, and `calls` requests."""

    def __init__(
        self,
        name: str,
        host: Host,
        path: str,
        *,
        units: Callable[[Group], list[Unit]],
        read: Callable[[Any], LabelQuery],
        in_flight: int,
        calls: int = 1_000_000,
        engine_metrics: bool,
        token_ids: Callable[[Group], list[list[tuple[int, ...]]]] | None,
        block: int = BLOCK,
    ) -> None:
        self.name = name
        self.host = host
        self._path = path
        self._units = units
        self._read = read
        self._in_flight = in_flight
        self._calls = calls
        self._engine_metrics = engine_metrics
        self._token_ids = token_ids
        self._block = block

    async def cold(self) -> None:
        if self._engine_metrics:
            async with Client(self.host.port) as client:
                await client.post("/reset_prefix_cache", b"")

    async def judge(self, work: Sequence[Group]) -> Pass:
        units = [unit for group in work for unit in self._units(group)]
        before = self._counted()
        async with Client(self.host.port) as client:
            cpu, own, started = self.host.cpu(), time.process_time(), time.perf_counter()
            done = await self._ask(client, units)
            seconds, own, cpu = time.perf_counter() - started, time.process_time() - own, self.host.cpu() - cpu
        reads = [self._read(json.loads(body)) for _, bodies in done for body in bodies]
        verdicts = sum(read.verdicts for read in reads)
        if verdicts != sum(unit.verdicts for unit in units):
            raise Failed(f"{verdicts} verdicts instead of {sum(unit.verdicts for unit in units)}")
        after = self._counted()
        return Pass(
            seconds=seconds,
            verdicts=verdicts,
            prompt_tokens=sum(read.prompt_tokens for read in reads),
            cached_tokens=after - before + sum(read.cached_tokens for read in reads),
            decoded_tokens=sum(read.decoded_tokens for read in reads),
            theory=self._theory(work),
            front_end_cpu=cpu.front_end,
            engine_cpu=cpu.engine,
            client_cpu=own,
            latencies=tuple(latency for latency, _ in done),
        )

    async def _ask(self, client: Client, units: Sequence[Unit]) -> list[tuple[float, list[bytes]]]:
        places, calls = asyncio.Semaphore(self._in_flight), asyncio.Semaphore(self._calls)

        async def call(body: bytes) -> bytes:
            async with calls:
                return await client.post(self._path, body)

        async def unit(bodies: Sequence[bytes]) -> tuple[float, list[bytes]]:
            async with places:
                started = time.perf_counter()
                answers = await asyncio.gather(*map(call, bodies))
                return time.perf_counter() - started, answers

        return await asyncio.gather(*(unit(one.bodies) for one in units))

    def _counted(self) -> int:
        """Tokens that the engine says it found in its prefix cache, so far."""
        return metric(self.host, "vllm:prefix_cache_hits_total") if self._engine_metrics else 0

    def _theory(self, work: Sequence[Group]) -> int | None:
        if self._token_ids is None:
            return None
        prompts = [ids for group in work for response in self._token_ids(group) for ids in response]
        return cached(prompts, self._block)


def metric(host: Host, name: str) -> int:
    """The sum of a counter over its labels, from the host's metrics page."""
    with urllib.request.urlopen(f"{host.url}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    return int(sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)))


class RawEngine:
    """The engine alone, given all prompts at once."""

    def __init__(self, name: str, host: Host, prompts: Prompts) -> None:
        self.name = name
        self.host = host
        self._prompts = prompts

    async def cold(self) -> None:
        async with Client(self.host.port) as client:
            await client.post("/reset", b"{}")

    async def judge(self, work: Sequence[Group]) -> Pass:
        prompts = [ids for group in work for response in self._prompts.token_ids(group) for ids in response]
        told = json.dumps({"prompts": prompts, "label_ids": self._prompts.label_ids}).encode()
        async with Client(self.host.port) as client:
            await client.post("/prompts", told)
            cpu, own = self.host.cpu(), time.process_time()
            answer = json.loads(await client.post("/generate", b"{}"))
            own, cpu = time.process_time() - own, self.host.cpu() - cpu
        if answer["verdicts"] != len(prompts):
            raise Failed(f"{answer['verdicts']} verdicts instead of {len(prompts)}")
        return Pass(
            seconds=answer["seconds"],
            verdicts=answer["verdicts"],
            prompt_tokens=answer["prompt_tokens"],
            cached_tokens=answer["cached_tokens"],
            decoded_tokens=0,
            theory=cached(prompts, BLOCK),
            front_end_cpu=cpu.front_end,
            engine_cpu=cpu.engine,
            client_cpu=own,
        )


def ours(name: str, host: Host, prompts: Prompts, *, in_flight: int, block: int) -> Baseline:
    """The service, a group a request."""

    def read(answer: Any) -> LabelQuery:
        usage = answer["usage"]
        judged = [one for result in answer["results"] for one in result["criteria"] if one["status"] == "ok"]
        return LabelQuery(len(judged), usage["prompt_tokens"], usage["cached_tokens"])

    def units(group: Group) -> list[Unit]:
        return [Unit((prompts.score(group),), group.verdicts)]

    groups = max(1, in_flight // 8)
    return OverHttp(
        name,
        host,
        "/v1/score",
        units=units,
        read=read,
        in_flight=groups,
        engine_metrics=False,
        token_ids=prompts.token_ids,
        block=block,
    )


def generative_scoring(name: str, host: Host, prompts: Prompts, *, in_flight: int) -> Baseline:
    """vLLM's own route for labels, a response a request."""

    def units(group: Group) -> list[Unit]:
        return [Unit((body,), len(group.criteria)) for body in prompts.generative_scoring(group)]

    def read(answer: Any) -> LabelQuery:
        return LabelQuery(len(answer["data"]), answer["usage"]["prompt_tokens"])

    return OverHttp(
        name,
        host,
        "/generative_scoring",
        units=units,
        read=read,
        in_flight=in_flight,
        engine_metrics=True,
        token_ids=prompts.token_ids,
    )


def one_token_chat(name: str, host: Host, prompts: Prompts, *, in_flight: int) -> Baseline:
    """A chat completion a criterion, one token."""

    def units(group: Group) -> list[Unit]:
        return [Unit(tuple(bodies), len(bodies)) for bodies in prompts.one_token_chat(group)]

    def read(answer: Any) -> LabelQuery:
        labels = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return LabelQuery(int(len(labels) >= 2), answer["usage"]["prompt_tokens"])

    return OverHttp(
        name,
        host,
        "/v1/chat/completions",
        units=units,
        read=read,
        in_flight=in_flight,
        engine_metrics=True,
        token_ids=prompts.token_ids,
    )


def json_per_criterion(name: str, host: Host, prompts: Prompts, *, hot: bool) -> Baseline:
    """The published pattern: a chat completion a criterion, long instructions last, an answer of 100 tokens. `hot`:
    sampled as published."""

    def units(group: Group) -> list[Unit]:
        return [Unit(tuple(bodies), len(bodies)) for bodies in prompts.json_per_criterion(group, hot=hot)]

    def read(answer: Any) -> LabelQuery:
        usage = answer["usage"]
        if usage["completion_tokens"] != DECODED:
            raise Failed(f"{usage['completion_tokens']} tokens were decoded instead of {DECODED}")
        return LabelQuery(1, usage["prompt_tokens"], decoded_tokens=DECODED)

    return OverHttp(
        name,
        host,
        "/v1/chat/completions",
        units=units,
        read=read,
        in_flight=1_000_000,
        calls=PATTERN_THREADS,
        engine_metrics=True,
        token_ids=prompts.graded_ids,
    )


class Library:
    """The PyPI package against vLLM's server, in its own environment's Python."""

    def __init__(self, name: str, host: Host, python: Path, model: str, *, in_flight: int) -> None:
        self.name = name
        self.host = host
        self._python = python
        self._model = model
        self._in_flight = in_flight

    async def cold(self) -> None:
        async with Client(self.host.port) as client:
            await client.post("/reset_prefix_cache", b"")

    async def judge(self, work: Sequence[Group]) -> Pass:
        tasks = [
            {"query": group.conversation, "response": response, "criteria": group.criteria}
            for group in work
            for response in group.responses
        ]
        told = {
            "url": f"{self.host.url}/v1",
            "model": self._model,
            "decoded": DECODED,
            "in_flight": self._in_flight,
            "tasks": tasks,
        }
        before, cpu = metric(self.host, "vllm:prefix_cache_hits_total"), self.host.cpu()
        answer = await asyncio.to_thread(self._run, json.dumps(told))
        cpu = self.host.cpu() - cpu
        wanted = sum(group.verdicts for group in work)
        if (answer["verdicts"], answer["decoded_tokens"]) != (wanted, wanted * DECODED):
            raise Failed(f"{answer['verdicts']} verdicts and {answer['decoded_tokens']} tokens for {wanted}")
        return Pass(
            seconds=answer["seconds"],
            verdicts=wanted,
            prompt_tokens=answer["prompt_tokens"],
            cached_tokens=metric(self.host, "vllm:prefix_cache_hits_total") - before,
            decoded_tokens=answer["decoded_tokens"],
            theory=None,
            front_end_cpu=cpu.front_end,
            engine_cpu=cpu.engine,
            client_cpu=answer["client_cpu"],
            latencies=tuple(answer["latencies"]),
        )

    def _run(self, told: str) -> dict[str, Any]:
        script = Path(__file__).with_name("library.py")
        done = subprocess.run([self._python, "-P", script], input=told, capture_output=True, text=True, timeout=900)
        if done.returncode:
            raise Failed("the library failed:\n" + "\n".join(done.stderr.splitlines()[-8:]))
        return dict(json.loads(done.stdout.splitlines()[-1]))

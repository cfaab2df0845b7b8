"""Holds every answer of two replicas under faults against an oracle outside of the service.

The judge's verdict follows from marks in the texts that it reads (testkit/marks.py). The oracle computes from a request
what each verdict, rule, score, bound and group has to be, with arithmetic of its own (truth.py). Meanwhile the engine
fails, hangs and is slow, replicas are killed and stopped, Redis is killed, stopped and emptied, the teams file becomes
a FIFO, callers leave, and deadlines pass. Passed: 0 wrong, 0 invented, 0 lost, 0 hung, and nothing left in a queue.

    python -m loadtests.oracle [--requests 3000] [--faults 100] [--callers 12] [--seed 0] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from loadtests.oracle.faults import FAULTS, World
from loadtests.oracle.requests import Asked, ask
from loadtests.oracle.truth import faults_of
from testkit import teams_file
from testkit.metrics_page import page_of

ANSWER_S, TRIES, PAUSE_S, LEAVE_S, SHOWN = 60.0, 200, 0.1, 0.02, 5
LEFT = ("rubricd_queued_tokens", "rubricd_in_flight_tokens", "rubricd_quota_reserved_tokens")


@dataclass(slots=True)
class Found:
    """`wrong` and `invented` name what the oracle says; `lost` are requests without an answer after many tries; `left`
    is what queues and quotas still hold at the end. `tries` counts what the tries that failed met."""

    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    judgements: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    lost: int = 0
    left: float = 0.0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not (self.wrong or self.unexpected or self.hung or self.lost or self.left) and self.judgements["ok"] > 0


class Callers:
    """They ask one replica, and the other where the first one fails."""

    def __init__(self, world: World, client: httpx.AsyncClient, at_once: int, seed: int) -> None:
        self.found = Found()
        self._world = world
        self._client = client
        self._places = asyncio.Semaphore(at_once)
        self._seed = seed

    async def ask(self, number: int, leaves: bool) -> None:
        asked = ask(number, self._seed)
        async with self._places:
            if leaves and number % 2:
                await self._leave(asked)
            self.found.requests += 1
            for attempt in range(TRIES):
                answer = await self._once(asked, attempt)
                if answer is not None:
                    self._check(asked, answer)
                    return
                await asyncio.sleep(PAUSE_S)
            self.found.lost += 1

    async def _once(self, asked: Asked, attempt: int) -> dict[str, Any] | None:
        """None where another try is right: a refusal, or a connection that broke."""
        url = self._world.replicas[(asked.number + attempt) % 2].url
        headers = {**teams_file.auth(asked.team), "Content-Type": "application/json"}
        if asked.streamed:
            headers["Accept"] = "application/x-ndjson"
        elif asked.key is not None:
            headers["Idempotency-Key"] = asked.key
        try:
            reply = await self._client.post(f"{url}/v1/score", content=asked.content, headers=headers)
        except httpx.TimeoutException:
            self.found.hung += 1
            return None
        except httpx.TransportError as error:
            self.found.tries[type(error).__name__] += 1
            return None
        if reply.status_code in (409, 429, 503):
            self.found.tries[str(reply.status_code)] += 1
            return None
        if reply.status_code != 200:
            self.found.unexpected[str(reply.status_code)] += 1
            self._show({"request": asked.body, "answer": reply.text})
            return {}
        return _streamed(reply.text) if asked.streamed else dict(reply.json())

    async def _leave(self, asked: Asked) -> None:
        task = asyncio.create_task(self._once(asked, 0))
        await asyncio.wait({task}, timeout=LEAVE_S)
        task.cancel()
        await asyncio.wait({task})

    def _check(self, asked: Asked, answer: dict[str, Any]) -> None:
        if not answer:
            return
        for result in answer["results"]:
            self.found.judgements.update(one["status"] for one in result["criteria"])
        wrong = faults_of(asked.body, answer)
        self.found.wrong.update(wrong)
        if wrong:
            self._show({"wrong": wrong, "request": asked.body, "answer": answer})

    def _show(self, example: dict[str, Any]) -> None:
        if len(self.found.examples) < SHOWN:
            self.found.examples.append(json.dumps(example))


def _streamed(text: str) -> dict[str, Any] | None:
    """The lines as one answer, or None where the stream broke."""
    lines = [json.loads(line) for line in text.splitlines()]
    if not lines or not lines[-1].get("done"):
        return None
    return {"results": sorted(lines[:-1], key=lambda line: int(line["index"])), "groups": lines[-1].get("groups")}


async def run(world: World, requests: int, faults: int, at_once: int, seed: int) -> Found:
    began_s = time.perf_counter()
    limits = httpx.Limits(max_connections=4 * at_once)
    async with httpx.AsyncClient(timeout=ANSWER_S, limits=limits) as client:
        callers = Callers(world, client, at_once, seed)
        with tqdm(total=requests, unit="request") as bar:
            for name, numbers in _rounds(requests, faults):
                async with FAULTS[name](world):
                    await asyncio.gather(*(callers.ask(number, name == "callers leave") for number in numbers))
                callers.found.faults[name] += 1
                bar.update(len(numbers))
                bar.set_postfix(wrong=callers.found.wrong.total(), lost=callers.found.lost, hung=callers.found.hung)
        await world.whole()
        callers.found.left = await _left(world)
    callers.found.seconds = time.perf_counter() - began_s
    return callers.found


def _rounds(requests: int, faults: int) -> Iterator[tuple[str, range]]:
    names = list(FAULTS)
    for fault in range(faults):
        yield names[fault % len(names)], range(requests * fault // faults, requests * (fault + 1) // faults)


async def _left(world: World) -> float:
    """What queues, engines and quotas hold, once it is nothing or after some seconds."""
    left = 0.0
    for _ in range(50):
        left = 0.0
        for replica in world.replicas:
            async with httpx.AsyncClient(base_url=replica.url) as client:
                page = await page_of(client)
            left += sum(page(name) for name in LEFT if page.has(name))
        if not left:
            break
        await asyncio.sleep(0.2)
    return left


def table(found: Found) -> str:
    rows: list[tuple[str, object]] = [
        ("requests", found.requests),
        *((f"fault: {name}", count) for name, count in found.faults.items()),
        *((f"judgements, {status}", count) for status, count in found.judgements.most_common()),
        *((f"tried again after {what}", count) for what, count in found.tries.most_common()),
        *((f"unexpected, {what}", count) for what, count in found.unexpected.items()),
        *((f"wrong: {what}", count) for what, count in found.wrong.items()),
        ("wrong or invented", found.wrong.total()),
        ("lost", found.lost),
        ("hung", found.hung),
        ("tokens left in queues and quotas", found.left),
        ("seconds", round(found.seconds)),
    ]
    return "\n".join(f"{name:<40}{value!s:>12}" for name, value in rows)


def main() -> int:
    """Exit status 0 where the run is passed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.oracle", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="(3000)")
    parser.add_argument("--faults", type=int, default=100, help="each beside its share of the requests (100)")
    parser.add_argument("--callers", type=int, default=12, help="requests at a time (12)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (0)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rubricd-oracle-") as folder, World(Path(folder)) as world:
        found = asyncio.run(run(world, options.requests, options.faults, options.callers, options.seed))
    print(table(found))
    print(*found.examples, sep="\n")
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    print("passed" if found.passed else "FAILED")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())

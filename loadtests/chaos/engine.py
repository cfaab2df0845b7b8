"""Does the service outlive its engine? kill -9 and SIGSTOP of the engine's processes under load, again and again.

The real service with engine `vllm` or `local` judges the miniature's cases for several callers without a
pause and without a cache. Every verdict is compared with the one that the undisturbed service gave before. The test is
passed where no request hangs, no verdict is made up, `/readyz` says 503 within a second of detection, and the service
is ready again without having been restarted.

    python -m loadtests.chaos.engine [--engine vllm] [--times 20] [--callers 4] [--hang-s 5] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
from tqdm import tqdm

from miniature.world.cases import Case, evaluation
from testkit.processes import service

CASES = 40
BATCH = 4
# What a request may take beyond the time to detect a hang; a judge that starts is no reason to wait.
ANSWER_S = 60.0
READY_S = 300.0
UNREADY_S = 1.0
# Batches differ from run to run, and with them the last bits of a float32.
TOLERANCE = 1e-3
NAMES = ("VLLM", "rubricd-judge")
FLAGS = {"vllm": ("--vllm-kv-cache-gb", "1"), "local": ()}
FAULTS = {"kill -9": signal.SIGKILL, "SIGSTOP": signal.SIGSTOP}

Truth = dict[tuple[str, str], float]


@dataclass(slots=True)
class Load:
    """The callers saw these answers. `wrong` are verdicts that the undisturbed service did not give; there must be
    none."""

    requests: int = 0
    hung: int = 0
    refused: int = 0
    wrong: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds from the fault to its detection, from there to 503, and from the fault to ready again."""

    fault: str
    victim: str
    detected_s: float
    unready_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class Service:
    process: psutil.Process
    url: str
    log: Path

    @property
    def detections(self) -> int:
        return self.log.read_text(errors="replace").count("; it is restarted")

    def engine(self) -> list[psutil.Process]:
        """The engine's processes: of vLLM the engine first, then its workers."""
        found = [child for child in self.process.children(recursive=True) if child.name().startswith(NAMES)]
        return sorted(found, key=lambda process: "EngineCore" not in process.name())


def main() -> int:
    """Exit status 0 where the chaos test is passed, else 1."""
    options = _parser().parse_args()
    trials, load, seconds = asyncio.run(run(options.engine, options.times, options.callers, options.hang_s))
    print(table(trials, load, seconds))
    passed = is_passed(trials, load, 2 * options.times)
    if options.json:
        facts = {
            "passed": passed,
            "seconds": seconds,
            "engine": options.engine,
            "hang_s": options.hang_s,
            "load": {one.name: getattr(load, one.name) for one in fields(load)},
        }
        options.json.write_text(json.dumps(facts | {"trials": list(map(asdict, trials))}, indent=1) + "\n")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos.engine", description=__doc__)
    parser.add_argument("--engine", choices=sorted(FLAGS), default="vllm")
    parser.add_argument("--times", type=int, default=20, help="faults injected of each kind (20)")
    parser.add_argument("--callers", type=int, default=4, help="requests in flight (4)")
    parser.add_argument("--hang-s", type=float, default=5.0, help="seconds of silence that are a hang (5)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


def is_passed(trials: Sequence[Trial], load: Load, wanted: int) -> bool:
    prompt = all(trial.unready_s <= UNREADY_S for trial in trials)
    judged = load.statuses["ok"] > 0
    return len(trials) == wanted and prompt and judged and not (load.hung or load.wrong or load.unexpected)


async def run(engine: str, times: int, callers: int, hang_s: float) -> tuple[list[Trial], Load, float]:
    cases = [evaluation(31, index) for index in range(CASES)]
    trials, load, began = [], Load(), time.monotonic()
    async with (
        serving(engine, hang_s) as judge,
        httpx.AsyncClient(base_url=judge.url, timeout=hang_s + ANSWER_S) as client,
    ):
        truth = await undisturbed(client, cases)
        stop = asyncio.Event()
        calls = [asyncio.create_task(call(client, cases, truth, load, stop, seed)) for seed in range(callers)]
        with tqdm(total=2 * times, unit="trial") as bar:
            for number in range(2 * times):
                fault = list(FAULTS)[number % 2]
                trials.append(await inject(judge, fault, number // 2))
                bar.set_postfix(hung=load.hung, wrong=load.wrong, ready_s=f"{trials[-1].ready_s:.0f}")
                bar.update()
                await asyncio.sleep(2.0)
        stop.set()
        await asyncio.gather(*calls)
    return trials, load, time.monotonic() - began


@asynccontextmanager
async def serving(engine: str, hang_s: float) -> AsyncIterator[Service]:
    """The service with the engine, ready, that ends with the block; nothing of it may be left then."""
    flags = ("--engine", engine, f"--{engine}-hang-s", f"{hang_s:g}", *FLAGS[engine])
    with ExitStack() as stack:
        started = service(*flags, "--cache-entries", "0", "--drain-s", "5", within_s=READY_S)
        running = await asyncio.to_thread(stack.enter_context, started)
        found = Service(psutil.Process(running.process.pid), running.url, running.log)
        yield found
        left = found.engine()
    if any(one.is_running() for one in left):
        raise RuntimeError("the service has left processes of its engine behind")


def is_ready(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def inject(service: Service, fault: str, number: int) -> Trial:
    """One fault, to the engine and its worker in turn, until the service is ready again."""
    processes, detections = service.engine(), service.detections
    victim = processes[number % len(processes)]
    name = victim.name()
    began = time.monotonic()
    os.kill(victim.pid, FAULTS[fault])
    await _until(lambda: service.detections > detections, READY_S)
    detected = time.monotonic()
    await _until(lambda: not is_ready(service), READY_S)
    unready = time.monotonic()
    await _until(lambda: is_ready(service), READY_S)
    return Trial(fault, name, detected - began, unready - detected, time.monotonic() - began)


async def undisturbed(client: httpx.AsyncClient, cases: Sequence[Case]) -> Truth:
    truth: Truth = {}
    for first in range(0, len(cases), BATCH):
        answer = await client.post("/v1/score", json={"items": [case.wire for case in cases[first : first + BATCH]]})
        for result in answer.raise_for_status().json()["results"]:
            for one in result["criteria"]:
                if one["status"] != "ok":
                    raise RuntimeError(f"without any fault a criterion ended as {one['status']}")
                truth[result["id"], one["id"]] = one["p"]
    return truth


async def call(
    client: httpx.AsyncClient, cases: Sequence[Case], truth: Truth, load: Load, stop: asyncio.Event, seed: int
) -> None:
    """Ask without a pause, and hold every answer against the truth."""
    random = Random(seed)
    while not stop.is_set():
        asked = random.sample(cases, BATCH)
        load.requests += 1
        try:
            answer = await client.post("/v1/score", json={"items": [case.wire for case in asked]})
        except httpx.TimeoutException:
            load.hung += 1
            continue
        except httpx.TransportError as error:
            load.unexpected[type(error).__name__] += 1
            continue
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            load.refused += 1
            await asyncio.sleep(0.1)
        elif answer.status_code != httpx.codes.OK:
            load.unexpected[f"HTTP {answer.status_code}"] += 1
        else:
            check(answer.json(), asked, truth, load)


def check(answer: dict[str, Any], asked: Sequence[Case], truth: Truth, load: Load) -> None:
    if [result["id"] for result in answer["results"]] != [case.id for case in asked]:
        load.wrong += 1
        return
    for result in answer["results"]:
        for one in result["criteria"]:
            load.statuses[one["status"]] += 1
            found, expected = one["p"], truth.get((result["id"], one["id"]))
            if one["status"] == "ok":
                load.wrong += expected is None or found is None or abs(found - expected) > TOLERANCE
            else:
                load.wrong += found is not None or one["met"] is not None


def table(trials: Sequence[Trial], load: Load, seconds: float) -> str:
    """Returns the trials, then the figures, as text."""
    lines = [f"{'fault':<10}{'to':<20}{'detected after':>16}{'503 after':>12}{'ready after':>13}"]
    for one in trials:
        times = f"{one.detected_s:>14.2f} s{one.unready_s:>10.2f} s{one.ready_s:>11.1f} s"
        lines.append(f"{one.fault:<10}{one.victim:<20}{times}")
    lines.append("")
    rows: list[tuple[str, object]] = [
        *((f"injected, {fault}", sum(trial.fault == fault for trial in trials)) for fault in FAULTS),
        ("requests", load.requests),
        ("refused with 503", load.refused),
        *((f"judgements, {status}", count) for status, count in sorted(load.statuses.items())),
        *((f"unexpected, {what}", count) for what, count in sorted(load.unexpected.items())),
        ("hung requests", load.hung),
        ("invented verdicts", load.wrong),
        ("503 after detection, longest", f"{max((trial.unready_s for trial in trials), default=0):.2f} s"),
        ("ready again, longest", f"{max((trial.ready_s for trial in trials), default=0):.1f} s"),
        ("the whole chaos test", f"{seconds:.0f} s"),
    ]
    return "\n".join([*lines, *(f"{name:<36}{value!s:>12}" for name, value in rows)])


async def _until(condition: Any, limit_s: float) -> Any:
    """The condition's first true value. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not (value := await asyncio.to_thread(condition)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s")
        await asyncio.sleep(0.02)
    return value


if __name__ == "__main__":
    sys.exit(main())

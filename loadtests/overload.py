"""The real service over its limit, over HTTP: what ends whole and in time, how soon the rest is refused, who is served.

`python -m service serve` with the bundled judge, teams with keys, no Redis and no verdicts in memory. Requests are sent
when they are due, whether or not earlier ones are answered. The caller, the service and the judge share this machine's
cores, so that the caller must cost little (open_loop.py): each one's share of the cores is in the table.

Guarantees: A request that gets no answer at all ends the run.

    python -m loadtests.overload [--seconds 20] [--json FILE] [--plot FILE]
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from loadtests.open_loop import CRITERIA, VERDICTS, Reply, TeamClient, evenly, randomly
from testkit import teams_file
from testkit.free_port import free_port
from testkit.processes import Failed, Host, hosted

LOADS = (0.5, 1.0, 1.5, 2.0, 4.0, 7.0, 10.0)
PATIENCE = 20.0
"""Deadline of a request, in unloaded answers."""
CALLERS, UNLOADED = 8, 20
SMALL, NOISY, SMALL_LOAD, NOISY_LOAD = tuple(f"small-{n}" for n in range(4)), "noisy", 0.05, 10.0


@dataclass(frozen=True, slots=True)
class Cores:
    """How many cores each was busy on."""

    client: float
    service: float
    judge: float


@dataclass(frozen=True, slots=True)
class Level:
    """One load, of capacity. Verdicts a second are those of whole answers in time. `wasted` is a share of the tokens
    that answers (200) say were computed; they do not say what was computed after they were sent, so that a judge which
    is busy for few tokens a second means more. Cores: how busy the caller, the service and the judge's process were."""

    load: float
    requests: int
    verdicts_per_s: float
    refused: int
    refused_p50_ms: float
    refused_p99_ms: float
    without_retry_after: int
    late: int
    timeouts: int
    answered_p99_ms: float
    wasted: float
    sent_late_p99_ms: float
    tokens_per_s: float
    client_cores: float
    service_cores: float
    judge_cores: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Served:
    """One team in one setting. Milliseconds until its requests were answered; `share` of them were, whole."""

    team: str
    requests: int
    share: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Found:
    """`beside` the noisy neighbour; verdicts a second of the noisy neighbour and of all."""

    capacity: float
    unloaded_ms: float
    deadline_ms: int
    levels: list[Level]
    alone: list[Served]
    together: list[Served]
    beside: list[Served]
    noisy_verdicts_per_s: float
    total_verdicts_per_s: float


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share does not exceed; nan of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


class Load:
    """A load holds the requests to one service. `numbers` make each text its own."""

    def __init__(self, host: Host, seconds: float, bar: "tqdm[Any]") -> None:
        self._host = host
        self._seconds = seconds
        self._bar = bar
        self._numbers = count()

    async def run(self) -> Found:
        async with TeamClient(self._host.port, teams_file.key(SMALL[0])) as client:
            for _ in range(UNLOADED):
                await self._ask(client)  # the first ones warm it up
            unloaded_s = percentile([(await self._ask(client)).seconds for _ in range(UNLOADED)], 0.5)
            capacity = await self._capacity(client)
        deadline_ms = round(1000 * PATIENCE * unloaded_s)
        levels = [await self._level(load, capacity, deadline_ms) for load in LOADS]
        alone = [(await self._small([name], capacity))[0] for name in SMALL]
        together = await self._small(SMALL, capacity)
        noisy = asyncio.create_task(self._noisy(capacity))
        beside = await self._small(SMALL, capacity)
        noisy_rate = await noisy
        small = sum(one.requests * one.share for one in beside) * VERDICTS / self._seconds
        return Found(
            capacity, 1000 * unloaded_s, deadline_ms, levels, alone, together, beside, noisy_rate, noisy_rate + small
        )

    async def _ask(self, client: TeamClient, deadline_ms: int | None = None) -> Reply:
        return await client.ask(next(self._numbers), deadline_ms)

    async def _capacity(self, client: TeamClient) -> float:
        """Verdicts a second with a few callers who wait for their answers."""
        began = time.perf_counter()
        done = 0

        async def call() -> None:
            nonlocal done
            while time.perf_counter() - began < self._seconds / 2:
                reply = await self._ask(client)
                if reply.status != 200:
                    raise Failed(f"{reply.status} to a caller who waits")
                done += 1

        self._bar.set_description("capacity")
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        self._bar.update()
        return done * VERDICTS / (time.perf_counter() - began)

    async def _level(self, load: float, capacity: float, deadline_ms: int) -> Level:
        self._bar.set_description(f"{load:g}x")
        due = randomly(load * capacity / VERDICTS, self._seconds, seed=f"overload {load}")
        cpu, own, began = self._host.cpu(), time.process_time(), time.perf_counter()
        async with TeamClient(self._host.port, teams_file.key(NOISY)) as client:
            replies = await self._offer(client, due, deadline_ms)
        seconds, spent = time.perf_counter() - began, self._host.cpu() - cpu
        cores = Cores((time.process_time() - own) / seconds, spent.front_end / seconds, spent.engine / seconds)
        self._bar.update()
        return level(load, replies, self._seconds, deadline_ms, cores, self._host.memory())

    async def _small(self, names: Sequence[str], capacity: float) -> list[Served]:
        self._bar.set_description(" ".join(names))
        rate = SMALL_LOAD * capacity / VERDICTS
        return await asyncio.gather(*(self._steady(name, rate, SMALL.index(name) / len(SMALL)) for name in names))

    async def _steady(self, name: str, rate: float, phase: float) -> Served:
        async with TeamClient(self._host.port, teams_file.key(name)) as client:
            found = served(name, await self._offer(client, evenly(rate, self._seconds, phase), None))
        self._bar.update()
        return found

    async def _noisy(self, capacity: float) -> float:
        """Verdicts a second that it got; when it ends it leaves, and what it still waits for is given up."""
        due = randomly(NOISY_LOAD * capacity / VERDICTS, self._seconds, seed="noisy")
        replies: list[Reply] = []
        async with TeamClient(self._host.port, teams_file.key(NOISY)) as client:
            asking = asyncio.create_task(self._offer(client, due, None, replies))
            await asyncio.wait([asking], timeout=self._seconds)
            asking.cancel()
            await asyncio.wait([asking])
        return sum(reply.whole for reply in replies) * VERDICTS / self._seconds

    async def _offer(
        self, client: TeamClient, due_s: Sequence[float], deadline_ms: int | None, replies: list[Reply] | None = None
    ) -> list[Reply]:
        """Ask at each time, counted from now; all answers, in `replies` as they come."""
        replies = [] if replies is None else replies
        began = time.perf_counter()

        async def ask(at_s: float) -> None:
            replies.append((await self._ask(client, deadline_ms)).due(at_s))

        async with asyncio.TaskGroup() as asked:
            for at_s in due_s:
                await asyncio.sleep(max(0.0, began + at_s - time.perf_counter()))
                asked.create_task(ask(began + at_s))
        return replies


def level(load: float, replies: Sequence[Reply], seconds: float, deadline_ms: int, cores: Cores, rss: int) -> Level:
    """Figures of one load. Raises Failed for an answer that is neither 200 nor 503."""
    if strange := [reply.status for reply in replies if reply.status not in (200, 503)]:
        raise Failed(f"{len(strange)} answers with status {strange[0]}")
    answered = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 503]
    late = [reply for reply in answered if 1000 * reply.seconds > deadline_ms]
    good = [reply for reply in answered if reply.whole and 1000 * reply.seconds <= deadline_ms]
    computed = sum(reply.computed_tokens for reply in answered)
    partial = sum(reply.computed_tokens for reply in answered if not reply.whole)
    refused_s = [reply.seconds for reply in refused]
    return Level(
        load=load,
        requests=len(replies),
        verdicts_per_s=len(good) * VERDICTS / seconds,
        refused=len(refused),
        refused_p50_ms=1000 * percentile(refused_s, 0.5),
        refused_p99_ms=1000 * percentile(refused_s, 0.99),
        without_retry_after=sum(reply.retry_after is None for reply in refused),
        late=len(late),
        timeouts=sum(reply.statuses.count("timeout") for reply in answered),
        answered_p99_ms=1000 * percentile([reply.seconds for reply in answered], 0.99),
        wasted=partial / computed if computed else 0.0,
        sent_late_p99_ms=1000 * percentile([reply.sent_late_s for reply in replies], 0.99),
        tokens_per_s=computed / seconds,
        client_cores=cores.client,
        service_cores=cores.service,
        judge_cores=cores.judge,
        rss_mib=rss / 2**20,
    )


def least_of_peak(levels: Sequence[Level]) -> float:
    """The least goodput above capacity, as a share of the best at any load."""
    best = max(one.verdicts_per_s for one in levels)
    return min(one.verdicts_per_s for one in levels if one.load > 1) / best


def slowest_refusals_ms(levels: Sequence[Level]) -> float:
    """The largest p99 of a load that was refused in part; nan where none was."""
    return max((one.refused_p99_ms for one in levels if one.refused), default=math.nan)


def served(name: str, replies: Sequence[Reply]) -> Served:
    whole = [1000 * reply.seconds for reply in replies if reply.whole]
    share = len(whole) / len(replies) if replies else 0.0
    return Served(name, len(replies), share, percentile(whole, 0.5), percentile(whole, 0.95))


def tables(found: Found) -> str:
    """Markdown. What was never measured is `nan`."""
    lines = [
        f"capacity {found.capacity:.0f} verdicts/s ({found.capacity / CRITERIA:.0f} responses/s); "
        f"unloaded {found.unloaded_ms:.0f} ms; deadline {found.deadline_ms} ms",
        "",
        "| load | requests | good verdicts/s | refused | refused p50, ms | p99, ms | no Retry-After | late | timeouts "
        "| answered p99, ms | tokens not whole | sent late p99, ms "
        "| tokens/s | client, cores | service, cores | judge, cores | RSS, MiB |",
        "|---" * 17 + "|",
    ]
    for one in found.levels:
        lines.append(
            f"| {one.load:g}x | {one.requests} | {one.verdicts_per_s:.0f} | {one.refused} | {one.refused_p50_ms:.1f} "
            f"| {one.refused_p99_ms:.1f} | {one.without_retry_after} | {one.late} | {one.timeouts} "
            f"| {one.answered_p99_ms:.0f} | {one.wasted:.4f} | {one.sent_late_p99_ms:.1f} "
            f"| {one.tokens_per_s:.0f} | {one.client_cores:.2f} | {one.service_cores:.2f} | {one.judge_cores:.2f} "
            f"| {one.rss_mib:.0f} |"
        )
    lines += [
        "",
        f"goodput in overload: {least_of_peak(found.levels):.0%} of its peak at least; "
        f"refusals p99 {slowest_refusals_ms(found.levels):.1f} ms at most",
        "",
        "| small team | requests | alone p50 / p95, ms | four together | beside the noisy | p95 to alone | served |",
        "|---" * 7 + "|",
    ]
    for alone, together, beside in zip(found.alone, found.together, found.beside, strict=True):
        times = " | ".join(f"{one.p50_ms:.0f} / {one.p95_ms:.0f}" for one in (alone, together, beside))
        ratio = beside.p95_ms / alone.p95_ms
        lines.append(f"| {beside.team} | {beside.requests} | {times} | {ratio:.2f} | {beside.share:.3f} |")
    lines += ["", f"noisy {found.noisy_verdicts_per_s:.0f} verdicts/s, all {found.total_verdicts_per_s:.0f}"]
    return "\n".join(lines)


def plot(found: Found, path: Path) -> None:
    """Small teams beside the noisy neighbour; goodput and refusals by load."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    settings = [("alone", found.alone, "#9bb8d3"), ("together", found.together, "#2f6690")]
    for n, (label, served, colour) in enumerate([*settings, ("beside the noisy neighbour", found.beside, "#d1495b")]):
        left.bar([4 * place + n for place in range(len(served))], [s.p95_ms for s in served], color=colour, label=label)
    left.set(
        yscale="log",
        ylabel="p95 of its requests, ms",
        title="Four small teams beside a noisy neighbour at ten times capacity",
    )
    left.set_xticks([4 * place + 1 for place in range(len(SMALL))], SMALL)
    left.legend(frameon=False)
    loads = [one.load for one in found.levels]
    right.plot(loads, [one.verdicts_per_s for one in found.levels], marker="o", color="#2f6690", label="in time")
    right.axhline(found.capacity, color="#9bb8d3", label="capacity")
    right.set(xscale="log", xlabel="load, of capacity", ylabel="whole verdicts/s", ylim=(0, None))
    right.set_xticks(loads, [f"{load:g}" for load in loads])
    right.set_title(f"Requests that wait {found.deadline_ms} ms")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


@contextmanager
def _service() -> Iterator[Host]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = teams_file.write(Path(folder) / "teams.json", *(teams_file.team(name) for name in (*SMALL, NOISY)))
        flags = ["--engine", "local", "--teams", str(file), "--cache-entries", "0", "--canary-every-s", "0"]
        command = [sys.executable, "-m", "service", "serve", "--port", str(port), *flags]
        log = Path(folder) / "log"
        with hosted(command, log=log, port=port, ready="/readyz", env={}) as host:
            yield host


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each load and setting (20)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="write a picture to this file")
    options = parser.parse_args()
    steps = 1 + len(LOADS) + 3 * len(SMALL)
    with _service() as host, tqdm(total=steps, unit="step") as bar:
        found = asyncio.run(Load(host, options.seconds, bar).run())
    print(tables(found))
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(found, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

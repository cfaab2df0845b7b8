"""Carries out one row: the victim alone, the victim beside the attack, and what is left of the attack afterwards."""

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

import httpx

from loadtests.callers.rows import Row
from loadtests.callers.site import ATTACKER, REVOKED, VICTIM, Front
from loadtests.callers.victim import Seen, Victim
from loadtests.overload import percentile
from testkit import teams_file
from testkit.processes import ROOT

MORE_S, TIMES = 0.05, 2.0
"""The victim may wait so much longer, or so many times as long, whichever is more."""
LAG_S, MEMORY, REVOKED_S = 0.05, 0.1, 5.0
WARM_S, SETTLE_S, LOOK_S = 1.0, 10.0, 0.2


@dataclass(frozen=True, slots=True)
class Phase:
    """What was seen in one phase: the victim's requests and their p99, those that were not judged, the longest that
    the event loop was late, and how late the drill's own process was."""

    requests: int
    p99_ms: float
    unserved: dict[str, int]
    loop_ms: float
    own_late_ms: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row. `missed` says which goals were not reached; memory in MiB."""

    row: str
    before: Phase
    during: Phase
    attacker: str
    rss_before: float
    rss_peak: float
    rss_after: float
    killed: int
    seconds: float
    missed: list[str]


async def carry_out(row: Row, front: Front, seconds: float, cap_s: float) -> Outcome:
    """The attack lasts `seconds`, or what its row needs, and up to `cap_s` longer until it is answered."""
    began_s = time.perf_counter()
    lasting_s = max(seconds, row.lasts_s)
    async with (
        Victim(front.port, teams_file.key(VICTIM), front.replicas) as victim,
        _attacker(row, front, lasting_s) as attacker,
    ):
        await _ready(attacker)
        await _phase(victim, asyncio.sleep(WARM_S))
        before = await _phase(victim, asyncio.sleep(seconds))
        rss_before = front.rss_bytes
        for replica in front.replicas:
            replica.peak_bytes = 0
        missed: list[str] = []
        said: list[str] = []
        during = await _phase(victim, _attack(attacker, row, front, lasting_s + cap_s, said, missed))
    rss_after = await _settled(front, rss_before)
    peak = sum(replica.peak_bytes for replica in front.replicas)
    missed += misses(before, during, rss_after / rss_before, front.killed, 1 if row.site == "mortal" else 0)
    return Outcome(
        row=row.name,
        before=before,
        during=during,
        attacker=said[0],
        rss_before=rss_before / 2**20,
        rss_peak=peak / 2**20,
        rss_after=rss_after / 2**20,
        killed=front.killed,
        seconds=time.perf_counter() - began_s,
        missed=missed,
    )


def misses(before: Phase, during: Phase, memory: float, killed: int, may_die: int) -> list[str]:
    """Which goals were not reached, in words. `memory` is afterwards, of what it was before."""
    missed = []
    if during.p99_ms > max(before.p99_ms + 1000 * MORE_S, before.p99_ms * TIMES):
        missed.append("p99")
    if during.unserved:
        missed.append("unserved")
    if during.loop_ms > 1000 * LAG_S + during.own_late_ms:
        missed.append("loop")
    if memory > 1 + MEMORY:
        missed.append("memory")
    if killed > may_die:
        missed.append("killed")
    return missed


async def _phase(victim: Victim, lasting: Awaitable[None]) -> Phase:
    seen, ended = Seen(), asyncio.Event()
    watching = asyncio.create_task(victim.watch(seen, ended))
    try:
        await lasting
    finally:
        ended.set()
        await watching
    return Phase(
        requests=len(seen.answers_s),
        p99_ms=1000 * percentile(seen.answers_s, 0.99),
        unserved=seen.unserved,
        loop_ms=1000 * max(seen.loop_s),
        own_late_ms=1000 * seen.own_late_s,
    )


@contextlib.asynccontextmanager
async def _attacker(row: Row, front: Front, seconds: float) -> AsyncIterator[Process]:
    arguments = [row.name, str(front.port), teams_file.key(ATTACKER), f"{seconds:g}"]
    command = [sys.executable, "-m", "loadtests.callers.attacker", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _ready(attacker: Process) -> None:
    assert attacker.stdout is not None
    if (line := await attacker.stdout.readline()).strip() != b"ready":
        raise RuntimeError(f"the attacker ended with {line!r}")


async def _attack(attacker: Process, row: Row, front: Front, cap_s: float, said: list[str], missed: list[str]) -> None:
    assert attacker.stdin is not None and attacker.stdout is not None
    meanwhile = asyncio.create_task(_meanwhile(row, front, cap_s))
    await asyncio.sleep(0.3)  # an operator's connection is there before the attack
    attacker.stdin.write(b"\n")
    line = b""
    with contextlib.suppress(TimeoutError):
        line = await asyncio.wait_for(attacker.stdout.readline(), cap_s)
    if line:
        sound, _, summary = line.decode().strip().partition(" ")
        said.append(summary)
        missed += [] if sound == "1" else ["answer"]
    else:
        said.append(f"no answer within {cap_s:g} s")
        missed.append("answer")
    missed += await meanwhile


async def _meanwhile(row: Row, front: Front, cap_s: float) -> list[str]:
    """What an operator does in this row, and what came of it that is wrong."""
    if row.meanwhile == "nothing" or front.teams is None:
        return []
    file, kept = front.teams, front.teams.read_bytes()
    if row.meanwhile == "a FIFO for the teams file":
        file.unlink()
        os.mkfifo(file)
        await asyncio.sleep(3)
        _replace(file, kept)
        return []
    async with httpx.AsyncClient(timeout=cap_s) as client:
        url, headers = f"http://127.0.0.1:{front.port}/v1/judge", teams_file.auth(REVOKED)
        assert (await client.get(url, headers=headers)).status_code == 200
        await asyncio.sleep(1)
        teams_file.write(file.with_suffix(".new"), *map(teams_file.team, (VICTIM, ATTACKER)))
        _replace(file, file.with_suffix(".new").read_bytes())
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < REVOKED_S:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url, headers=headers)).status_code == 401:
                    return []
            await asyncio.sleep(0.1)
    return ["revoked key alive"]


def _replace(file: "os.PathLike[str]", content: bytes) -> None:
    part = f"{os.fspath(file)}.part"
    with open(part, "wb") as out:
        out.write(content)
    os.replace(part, file)


async def _settled(front: Front, rss_before: int) -> int:
    """The memory once it is back, or after some seconds."""
    for _ in range(int(SETTLE_S / LOOK_S)):
        if front.rss_bytes <= rss_before * (1 + MEMORY):
            break
        await asyncio.sleep(LOOK_S)
    return front.rss_bytes

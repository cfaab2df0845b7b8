"""One model's comparison: all hosts are started, then the baselines do the same work in rounds.

Guarantees: While one is measured, the processes of the others stand still: an idle vLLM takes a fourth of a core. One
that fails is out, with the reason, and the others go on. A round is the same texts twice: new to everybody, then known.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from loadtests.throughput import baselines
from loadtests.throughput.baselines import Baseline
from loadtests.throughput.environment import library_python
from loadtests.throughput.figures import LOCAL, OURS, RAW, Outcome, Pass
from loadtests.throughput.hosts import HostName, Setting, start
from loadtests.throughput.models import Kind
from loadtests.throughput.requests import Prompts
from loadtests.throughput.workload import Group, groups
from testkit.processes import Failed, Host

HOSTS: Mapping[str, HostName] = {
    RAW: "raw",
    OURS: "ours_vllm",
    LOCAL: "ours_local",
    "generative_scoring": "server",
    "one_token_chat": "server",
    "json_per_criterion": "server",
    "json_greedy": "server",
    "library": "server",
}
SLOW = ("json_per_criterion", "json_greedy", "library")


@dataclass(frozen=True, slots=True)
class Size:
    """A round's work: groups of eight responses, or for the slow ones so many responses of one group. `in_flight` is in
    responses."""

    groups: int
    slow_responses: int
    in_flight: int

    def of(self, name: str, work: Sequence[Group]) -> Sequence[Group]:
        if name not in SLOW:
            return work
        return _few(work, self.slow_responses)


SIZES: dict[Kind, Size] = {
    "request": Size(groups=16, slow_responses=8, in_flight=16),
    "compute": Size(groups=1, slow_responses=2, in_flight=8),
}
LEAST_ROUNDS = 1
SHARE_OF_TIME: Mapping[Kind, float] = {"request": 0.3, "compute": 0.7}
ERRORS = (Failed, OSError, ValueError, LookupError, EOFError)


def _few(work: Sequence[Group], responses: int, criteria: int | None = None) -> Sequence[Group]:
    """So many responses of the first group, with all its criteria or so many."""
    first = work[0]
    return [replace(first, responses=first.responses[:responses], criteria=first.criteria[:criteria])]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(
    kind: Kind, setting: Setting, prompts: Prompts, only: Collection[str], seconds: float
) -> dict[str, Outcome]:
    """Turns while another one fits in this model's share of the time, one at least."""
    seconds *= SHARE_OF_TIME[kind]
    outcomes: dict[str, Outcome] = {}
    with ExitStack() as stack:
        taking = _enter(kind, setting, prompts, only, stack, outcomes)
        for one in list(taking):
            _take(kind, one, _few(groups(f"{kind} warm-up", 1, prompts.cut), 2, 4), "warm-up", taking, outcomes)
        outcomes |= {one.name: Outcome() for one in taking}
        began, number = time.monotonic(), 0
        while taking and (number < LEAST_ROUNDS or (time.monotonic() - began) * (number + 1) / number < seconds):
            number += 1
            work = groups(f"{kind} round {number}", SIZES[kind].groups, prompts.cut)
            for one in list(taking):
                _take(kind, one, SIZES[kind].of(one.name, work), f"round {number}", taking, outcomes)
        say(f"{kind}: {number} rounds in {time.monotonic() - began:.0f} s")
    return {name: outcomes[name] for name in HOSTS if name in outcomes}


def _enter(
    kind: Kind,
    setting: Setting,
    prompts: Prompts,
    only: Collection[str],
    stack: ExitStack,
    outcomes: dict[str, Outcome],
) -> list[Baseline]:
    """Every baseline whose host came up; the others' outcomes say why not."""
    hosts: dict[HostName, Host] = {}
    taking: list[Baseline] = []
    for name in HOSTS:
        if name not in only:
            continue
        try:
            if HOSTS[name] not in hosts:
                hosts[HOSTS[name]] = _started(kind, HOSTS[name], setting, stack)
            taking.append(_baseline(name, kind, hosts[HOSTS[name]], prompts))
        except ERRORS as error:
            outcomes[name] = Outcome(failed=str(error))
            say(f"{kind}: {name} failed: {error}")
    return taking


def _started(kind: Kind, name: HostName, setting: Setting, stack: ExitStack) -> Host:
    began = time.monotonic()
    say(f"{kind}: starting {name} …")
    host = stack.enter_context(start(name, setting))
    say(f"{kind}: {name} is ready after {time.monotonic() - began:.0f} s, {host.memory() / 2**30:.1f} GiB")
    host.pause()
    return host


def _baseline(name: str, kind: Kind, host: Host, prompts: Prompts) -> Baseline:
    in_flight = SIZES[kind].in_flight
    makers: dict[str, Callable[[], Baseline]] = {
        RAW: lambda: baselines.RawEngine(name, host, prompts),
        OURS: lambda: baselines.ours(name, host, prompts, in_flight=in_flight, block=baselines.BLOCK),
        LOCAL: lambda: baselines.ours(name, host, prompts, in_flight=in_flight, block=1),
        "generative_scoring": lambda: baselines.generative_scoring(name, host, prompts, in_flight=in_flight),
        "one_token_chat": lambda: baselines.one_token_chat(name, host, prompts, in_flight=in_flight),
        "json_per_criterion": lambda: baselines.json_per_criterion(name, host, prompts, hot=True),
        "json_greedy": lambda: baselines.json_per_criterion(name, host, prompts, hot=False),
        "library": lambda: baselines.Library(name, host, library_python(), "judge", in_flight=in_flight),
    }
    return makers[name]()


def _take(
    kind: Kind,
    one: Baseline,
    work: Sequence[Group],
    label: str,
    taking: list[Baseline],
    outcomes: dict[str, Outcome],
) -> None:
    """One baseline's round, cold and warm; a failure takes it out."""
    one.host.resume()
    try:
        one.host.until_ready()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            cold, warm = runner.run(_both(one, work))
    except ERRORS as error:
        outcomes[one.name] = Outcome(failed=f"{error}\n{one.host.log_tail()}")
        taking.remove(one)
        say(f"{kind}: {one.name} failed: {outcomes[one.name].failed}")
        return
    finally:
        one.host.pause()
    rates = ", ".join(f"{name} {done.verdicts / done.seconds:.1f}/s" for name, done in (("cold", cold), ("warm", warm)))
    say(f"{kind}: {label}, {one.name}: {rates} ({cold.seconds + warm.seconds:.1f} s)")
    if one.name in outcomes:
        before = outcomes[one.name]
        outcomes[one.name] = Outcome(cold=(*before.cold, cold), warm=(*before.warm, warm))


async def _both(one: Baseline, work: Sequence[Group]) -> tuple[Pass, Pass]:
    await one.cold()
    return await one.judge(work), await one.judge(work)


def folder_of(kind: Kind, below: Path) -> Path:
    """Returns where the model of this kind is kept."""
    folder = below / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""Rules: criteria that are decided by computing, without asking the judge.

Always true: a verdict is what the rule found out; whatever kept it from finding out is a VerifierFailed that names the
trouble in fixed words. Rules that are linear in the response run where they are called. Those that a hostile pattern,
schema or response can slow down, blow up or crash run one at a time in processes (`rule_process.py`) that are killed
when their time is over, so they cost nobody else more than a place in the queue.

`docs/guide/rules.md` says for each rule when it is met.
"""

import asyncio
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from service.errors import Cancelled, Overloaded, VerifierFailed
from service.rubrics.rubric import Rule
from service.verifiers.choice import stated_choice
from service.verifiers.process import RuleProcess, WorkerDied

Params = Mapping[str, Any]


def _folded(text: str, params: Params, *, default: bool) -> str:
    return text.casefold() if params.get("ignore_case", default) else text


def _contains(params: Params, response: str) -> bool:
    wanted, text = (_folded(text, params, default=True) for text in (params["text"], response))
    return wanted in text


def _exact(params: Params, response: str) -> bool:
    gold, stated = (_folded(text.strip(), params, default=False) for text in (params["gold"], response))
    return gold == stated


def _choice(params: Params, response: str) -> bool:
    gold: str = params["gold"]
    return stated_choice(response) == gold.upper()


def _length(params: Params, response: str) -> bool:
    length = len(response) if params.get("unit", "words") == "characters" else len(response.split())
    low, high = params.get("min"), params.get("max")
    return (low is None or length >= low) and (high is None or length <= high)


_INLINE: Mapping[str, Callable[[Params, str], bool]] = MappingProxyType(
    {"contains": _contains, "exact": _exact, "choice": _choice, "length": _length}
)
_POOLED = frozenset({"regex", "json_schema", "math_verify"})
RULES = frozenset({*_INLINE, *_POOLED})

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "pattern": "the pattern does not compile",
        "schema": "the schema is not a valid JSON Schema of draft 2020-12",
        "dialect": "`$schema` names another dialect than draft 2020-12",
        "reference": "the schema refers to something outside of itself, and nothing is ever fetched",
        "gold": "the gold answer cannot be read as a mathematical expression; `exact` or `choice` may suit it",
        "memory": "the rule ran out of memory",
        "crash": "the rule's library failed",
    }
)


def _names_a_choice(gold: str) -> bool:
    return len(gold) == 1 and "A" <= gold <= "Z"


class RulePool:
    """Decides rules. Up to `workers` processes, started when first needed; each check may take `timeout_s` of wall time
    once its process has loaded what the rule needs. Checks wait in the order of their coming; whoever brings them asks
    `check_room` first, which refuses where more than `max_queued` would wait, and cancels those whose deadline has
    passed."""

    def __init__(self, *, workers: int = 2, timeout_s: float = 5.0, max_queued: int = 10_000) -> None:
        if workers < 1 or timeout_s <= 0 or max_queued < 1:
            raise ValueError("a pool needs a worker, some time and some room")
        self._timeout_s = timeout_s
        self._max_queued = max_queued
        self._check_s: float | None = None
        self._processes = tuple(RuleProcess() for _ in range(workers))
        self._free = list(self._processes)
        self._waiting: deque[asyncio.Future[RuleProcess]] = deque()
        self._stopped = False

    def __repr__(self) -> str:
        busy = len(self._processes) - len(self._free)
        return f"<RulePool {busy} busy, {len(self._free)} free, {len(self._waiting)} waiting>"

    @property
    def waiting(self) -> int:
        """Checks that wait for a process."""
        return len(self._waiting)

    def check_capacity(self, rules: Iterable[Rule]) -> None:
        """Raises Overloaded, with when to come back, where these checks would make too many wait. Where none waits they
        are let in, however many they are."""
        excess = self.waiting + sum(rule.name in _POOLED for rule in rules) - self._max_queued
        if excess > 0 and self._waiting:
            raise Overloaded("too many rules wait to be checked; try again later", self._drain_s(excess))

    async def check(self, rule: Rule, response: str) -> bool:
        """Whether the response meets the rule. Raises VerifierFailed where that could not be found out, Cancelled where
        the pool stops. A caller that is cancelled frees its process at once."""
        if rule.name in _INLINE:
            return _INLINE[rule.name](rule.params, response)
        if rule.name not in _POOLED:
            raise VerifierFailed("there is no such rule")
        if rule.name == "math_verify" and _names_a_choice(rule.params["gold"]) and _choice(rule.params, response):
            return True
        outcome = await self._decide(rule, response)
        if isinstance(outcome.get("met"), bool):
            return bool(outcome["met"])
        if outcome.get("error") == "slow":
            raise self._slow()
        raise VerifierFailed(_REASONS.get(outcome.get("error", "crash"), _REASONS["crash"]))

    async def stop(self) -> None:
        """End all checks and all processes; returns when no process is left. Later checks are refused."""
        self._stopped = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_stopped())
        for process in self._processes:
            process.close()
        await asyncio.gather(*(process.ended() for process in self._processes))

    async def _decide(self, rule: Rule, response: str) -> dict[str, Any]:
        job = {"rule": rule.name, "params": dict(rule.params), "response": response, "limit_s": self._timeout_s}
        process = await self._take()
        began_s = asyncio.get_running_loop().time()
        try:
            return await process.decide(json.dumps(job).encode() + b"\n", self._timeout_s)
        except TimeoutError as error:
            raise self._slow() from error
        except WorkerDied as error:
            raise _stopped() if self._stopped else VerifierFailed(str(error)) from error
        finally:
            self._measure(asyncio.get_running_loop().time() - began_s)
            self._give(process)

    def _measure(self, check_s: float) -> None:
        """A mean that forgets: the last twenty or so checks make most of it."""
        self._check_s = check_s if self._check_s is None else self._check_s + (check_s - self._check_s) / 20

    def _drain_s(self, checks: int) -> float:
        """Seconds until so many checks are done at the measured rate, 1 to 60; 1 before anything was measured."""
        seconds = checks * (self._check_s or 0.0) / len(self._processes)
        return min(60.0, max(1.0, math.ceil(seconds)))

    async def _take(self) -> RuleProcess:
        if self._stopped:
            raise _stopped()
        waiter: asyncio.Future[RuleProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._assign()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give(waiter.result())
            with suppress(ValueError):
                self._waiting.remove(waiter)
            raise

    def _give(self, process: RuleProcess) -> None:
        self._free.append(process)
        self._assign()

    def _assign(self) -> None:
        """Free processes to those that wait longest. The process used last goes first: it is started and warm."""
        while self._free and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(self._free.pop())

    def _slow(self) -> VerifierFailed:
        return VerifierFailed(f"the rule did not finish within {self._timeout_s:g} s")


def _stopped() -> Cancelled:
    return Cancelled("the rules are being stopped")

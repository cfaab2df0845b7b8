"""The rule pool decides criteria that have a rule, by computing and without the judge.

Guarantees: a verdict is what the rule found. Whatever kept it from a verdict is a VerifierFailed that names the cause
in fixed words, without text of the rule or the response.

A rule whose time is linear in the response runs in the event loop. A rule that a hostile pattern, schema or response
can slow down, blow up or crash runs in a process of the pool (`process.py`), one check at a time. The process is killed
when the check's time is over, so such a check costs other callers no more than a place in the queue.

The pool is written by hand: a ProcessPoolExecutor cannot kill one task that runs too long.

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
from service.settings import RuleSettings
from service.verifiers.choice import stated_choice
from service.verifiers.process import RuleProcess, WorkerDied

Params = Mapping[str, Any]


def _folded(text: str, params: Params, *, default: bool) -> str:
    return text.casefold() if params.get("ignore_case", default) else text


def _contains(params: Params, response: str) -> bool:
    wanted, text = (_folded(text, params, default=True) for text in (params["text"], response))
    return wanted in text


def _exact(params: Params, response: str) -> bool:
    gold, text = (_folded(text.strip(), params, default=False) for text in (params["gold"], response))
    return gold == text


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
    """Decides rules in up to `rule_workers` processes, which are started when they are first needed.

    A check may take `rule_timeout_s` of wall time once its process has loaded what the rule needs. Checks wait in the
    order of arrival. The pool does not look at deadlines or at its limit by itself: the caller asks `check_capacity`,
    which refuses where more than `max_queued_checks` would wait, before it sends checks, and cancels those whose
    deadline has passed.
    """

    def __init__(self, settings: RuleSettings) -> None:
        self._timeout_s = settings.rule_timeout_s
        self._max_queued = settings.max_queued_checks
        self._mean_check_s: float | None = None
        self._processes = tuple(RuleProcess() for _ in range(settings.rule_workers))
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
        """Raises Overloaded, with when to come back, if with these checks too many would wait. If none waits they are
        admitted, however many they are."""
        if not self._waiting:
            return
        excess = self.waiting + sum(rule.name in _POOLED for rule in rules) - self._max_queued
        if excess > 0:
            raise Overloaded("too many rules wait to be checked; try again later", self._retry_after_s(excess))

    async def check(self, rule: Rule, response: str) -> bool:
        """Returns whether the response meets the rule. Raises VerifierFailed if that could not be found out, Cancelled
        if the pool stops. A caller that is cancelled frees its process at once."""
        if rule.name in _INLINE:
            return _INLINE[rule.name](rule.params, response)
        if rule.name not in _POOLED:
            raise VerifierFailed("there is no such rule")
        # A gold answer of one capital letter may be a choice. The letter is looked for first, without a process; a
        # response that does not state it is compared as mathematics, where a letter is a variable.
        if rule.name == "math_verify" and _names_a_choice(rule.params["gold"]) and _choice(rule.params, response):
            return True
        outcome = await self._decide(rule, response)
        if isinstance(outcome.get("met"), bool):
            return bool(outcome["met"])
        if outcome.get("error") == "slow":
            raise self._timed_out()
        raise VerifierFailed(_REASONS.get(outcome.get("error", "crash"), _REASONS["crash"]))

    async def stop(self) -> None:
        """Ends all checks and all processes; returns when no process is left. Later checks are refused."""
        self._stopped = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_cancelled())
        for process in self._processes:
            process.close()
        await asyncio.gather(*(process.wait_ended() for process in self._processes))

    async def _decide(self, rule: Rule, response: str) -> dict[str, Any]:
        job = {"rule": rule.name, "params": dict(rule.params), "response": response, "limit_s": self._timeout_s}
        process = await self._acquire()
        started_s = asyncio.get_running_loop().time()
        try:
            return await process.decide(json.dumps(job).encode() + b"\n", self._timeout_s)
        except TimeoutError as error:
            raise self._timed_out() from error
        except WorkerDied as error:
            raise _cancelled() if self._stopped else VerifierFailed(str(error)) from error
        finally:
            self._measure(asyncio.get_running_loop().time() - started_s)
            self._release(process)

    def _measure(self, check_s: float) -> None:
        """Updates the mean, which about the last twenty checks make up."""
        mean_s = check_s if self._mean_check_s is None else self._mean_check_s
        self._mean_check_s = mean_s + (check_s - mean_s) / 20

    def _retry_after_s(self, checks: int) -> float:
        """Seconds until so many checks are done at the measured rate, from 1 to 60; 1 before anything was measured."""
        seconds = checks * (self._mean_check_s or 0.0) / len(self._processes)
        return min(60.0, max(1.0, math.ceil(seconds)))

    async def _acquire(self) -> RuleProcess:
        if self._stopped:
            raise _cancelled()
        waiter: asyncio.Future[RuleProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._assign()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # The process was assigned in the same turn of the loop in which the caller was cancelled.
                self._release(waiter.result())
            with suppress(ValueError):
                self._waiting.remove(waiter)
            raise

    def _release(self, process: RuleProcess) -> None:
        self._free.append(process)
        self._assign()

    def _assign(self) -> None:
        """Gives free processes to the checks that have waited longest."""
        while self._free and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(self._free.pop())  # the one used last: it is started, and has loaded a rule

    def _timed_out(self) -> VerifierFailed:
        return VerifierFailed(f"the rule did not finish within {self._timeout_s:g} s")


def _cancelled() -> Cancelled:
    return Cancelled("the rules are being stopped")

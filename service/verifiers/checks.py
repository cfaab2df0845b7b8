"""Checks are what a request asks of the rules, and the work that a process gets: one check, or a batch of cheap ones.

Guarantees: equal checks of a request have one key. A batch is bounded by its time and by its characters.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import JudgementError
from service.rubrics.rubric import Rule
from service.scheduling import Tenant
from service.verifiers.process import Job

_BATCH_NS = 20_000_000
_BATCH_CHARS = 1_000_000

Meter = Callable[[float], bool]
"""Charges the seconds of a check to its team. Returns whether the team may have more."""
Check = tuple[Rule, str]
"""A rule, and the response that it is checked on."""


def unmetered(check_s: float) -> bool:
    return True


class RuleChecks:
    """The checks of one request. `futures[i]` is of the i-th check; equal checks share one. Call `close` once."""

    def __init__(self, end: Callable[["RuleChecks"], None], tenant: Tenant, meter: Meter) -> None:
        self.futures: list[asyncio.Future[bool]] = []
        self.tenant = tenant
        self.meter = meter
        self.running: set[asyncio.Task[None]] = set()
        self.closed = False
        self._end = end

    def close(self) -> None:
        """Nothing waits for the checks any more: those that wait are dropped, and those that run free their process."""
        if not self.closed:
            self.closed = True
            self._end(self)


@dataclass(frozen=True, slots=True)
class Work:
    """What a process gets at once: one check, or a batch of cheap ones, with a future for each."""

    request: RuleChecks
    checks: tuple[Check, ...]
    futures: tuple[asyncio.Future[bool], ...]

    def fail(self, error: JudgementError) -> None:
        for future in self.futures:
            fail_check(future, error)


class Batch:
    """Packs cheap checks that would take too long in the event loop into work for a process."""

    def __init__(self, request: RuleChecks, work: list[Work]) -> None:
        self._request = request
        self._work = work
        self._clear()

    def _clear(self) -> None:
        self._checks: list[Check] = []
        self._futures: list[asyncio.Future[bool]] = []
        self._ns = 0
        self._chars = 0

    def add(self, check: Check, future: asyncio.Future[bool], ns: int) -> None:
        # The text of a response is sent once where checks on it stand together.
        rule, text = check
        chars = sum(len(one) for one in rule.params.values() if isinstance(one, str))
        if not self._checks or self._checks[-1][1] is not text:
            chars += len(text)
        if self._checks and (self._ns + ns > _BATCH_NS or self._chars + chars > _BATCH_CHARS):
            self.end()
            chars += len(text)
        self._checks.append(check)
        self._futures.append(future)
        self._ns += ns
        self._chars += chars

    def end(self) -> None:
        if self._checks:
            self._work.append(Work(self._request, tuple(self._checks), tuple(self._futures)))
            self._clear()


def job_of(work: Work, limit_s: float) -> Job:
    texts: dict[str, int] = {}
    checks = [(rule.name, dict(rule.params), texts.setdefault(text, len(texts))) for rule, text in work.checks]
    return Job(checks, list(texts), limit_s)


def key_of(rule: Rule, response: str) -> object:
    try:
        key = (rule.name, response, *rule.params.items())
        hash(key)
    except TypeError:  # a schema is compared by identity: the responses of one item share it
        return (id(rule), response)
    return key


def fail_check(future: asyncio.Future[bool], error: JudgementError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # looked at, so that asyncio reports nothing where nobody waits for it

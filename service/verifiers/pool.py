"""The rule pool decides criteria that have a rule, by computing and without the judge.

Guarantees: a verdict is what the rule found. Whatever kept it from a verdict is a VerifierFailed that names the cause
in fixed words, without text of the rule or the response. Each check ends once: with a verdict, a failure, or because
its request does not wait for it any more.

A cheap rule on a short response is checked at once, as far as the event loop can bear. All other checks wait for a
process of the pool (`process.py`), and teams share the processes (`check_queue.py`). A process is killed when the time
of a check is over, so a pattern, schema or answer that is slow, blows up or crashes costs its own check.

The pool is written by hand: a ProcessPoolExecutor cannot kill one task that runs too long, nor share by team.

`docs/guide/rules.md` says for each rule when it is met.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from service.errors import Cancelled, RuleQuotaUsedUp, TooLong, VerifierFailed
from service.observability import Telemetry
from service.rubrics.rubric import Rule
from service.scheduling import DEFAULT_TENANT, Tenant
from service.settings import RuleSettings
from service.verifiers.cheap import CHEAP, cost_ns, names_a_choice
from service.verifiers.check_queue import CheckQueue, Turn
from service.verifiers.checks import Batch, Check, Meter, RuleChecks, Work, fail_check, job_of, key_of, unmetered
from service.verifiers.process import RuleProcess, WorkerDied

_POOLED = frozenset({"regex", "json_schema", "math_verify"})
RULES = frozenset({*CHEAP, *_POOLED})

_INLINE_NS = 500_000
"""A cheap check that may take longer needs a process."""
_REQUEST_INLINE_NS = 2_000_000
"""So long the cheap checks of one request may keep the event loop busy. What is left is checked in batches."""
_SLICE = 500
"""So many checks are looked at in one turn of the event loop."""

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "pattern": "the pattern does not compile",
        "schema": "the schema is not a valid JSON Schema of draft 2020-12",
        "dialect": "`$schema` names another dialect than draft 2020-12",
        "reference": "the schema refers to something outside of itself, and nothing is ever fetched",
        "gold": "the gold answer cannot be read as a mathematical expression; `exact` or `choice` may suit it",
        "long": "the gold answer or that of the response is too long, or nested too deeply, to be read",
        "size": "a number in the gold answer or in the response is too large to be computed",
        "memory": "the rule ran out of memory",
        "crash": "the rule's library failed",
    }
)


@dataclass(slots=True)
class _Decision:
    """A check that a process has. `check_s` is what the process says it took."""

    turn: Turn[Work]
    process: RuleProcess
    started_s: float
    check_s: float | None = None
    outcome: str = "cancelled"
    ended: bool = False


class RulePool:
    """Decides rules in up to `rule_workers` processes and a spare one, which are started when they are first needed.

    A check may take `rule_timeout_s` of wall time once its process has loaded what the rule needs. The pool does not
    look at deadlines: the caller closes the checks whose deadline has passed.
    """

    def __init__(self, settings: RuleSettings, telemetry: Telemetry | None = None) -> None:
        self._timeout_s = settings.rule_timeout_s
        self._max_chars = settings.max_rule_chars
        self._queue: CheckQueue[Work] = CheckQueue(settings)
        self._processes = tuple(RuleProcess() for _ in range(settings.rule_workers + 1))
        self._free = list(self._processes)
        self._telemetry = telemetry or Telemetry()
        self._stopped = False

    def __repr__(self) -> str:
        busy = len(self._processes) - len(self._free)
        return f"<RulePool {busy} busy, {len(self._free)} free, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Checks that wait for a process; a batch counts as one."""
        return self._queue.waiting

    @property
    def waiting_by_team(self) -> Mapping[str, int]:
        return self._queue.waiting_by_team

    async def submit(
        self, checks: Sequence[Check], tenant: Tenant = DEFAULT_TENANT, meter: Meter = unmetered
    ) -> RuleChecks:
        """Starts the checks of one request, and returns once they are admitted. A check's future has whether the rule
        is met; VerifierFailed where that could not be found out; TooLong where the response is too long for a rule;
        RuleQuotaUsedUp where its team's quota was used up meanwhile; Cancelled where the pool stops.

        Raises InvalidRequest for more checks than a request may have, Overloaded where too many of the team wait."""
        request = RuleChecks(self._close, tenant, meter)
        work = await self._sort(request, checks)
        if self._stopped:
            raise _stopping()
        self._queue.admit(tenant, len(work))
        self._queue.add(tenant, work)
        self._assign()
        return request

    async def check(self, rule: Rule, response: str) -> bool:
        """The outcome of one check; see `submit`. A caller that is cancelled frees its process at once."""
        request = await self.submit([(rule, response)])
        try:
            return await request.futures[0]
        finally:
            request.close()

    def _close(self, request: RuleChecks) -> None:
        for task in request.running:
            task.cancel()
        for future in request.futures:
            future.cancel()
        self._queue.remove(request.tenant.team, lambda work: work.request is request)

    async def stop(self) -> None:
        """Ends all checks and all processes; returns when no process is left. Later checks are refused."""
        self._stopped = True
        for work in self._queue.clear():
            work.fail(_stopping())
        for process in self._processes:
            process.close()
        await asyncio.gather(*(process.wait_ended() for process in self._processes))

    async def _sort(self, request: RuleChecks, checks: Sequence[Check]) -> list[Work]:
        """Decides what is cheap; returns what needs a process. Equal checks are one."""
        new_future, bearable_ns = asyncio.get_running_loop().create_future, _REQUEST_INLINE_NS
        known: dict[object, asyncio.Future[bool]] = {}
        work: list[Work] = []
        batch = Batch(request, work)
        for begin in range(0, len(checks), _SLICE):
            if begin:
                await asyncio.sleep(0)  # a request may have a hundred thousand
            for check in checks[begin : begin + _SLICE]:
                key = key_of(*check)
                future = known.get(key)
                if future is None:
                    future = known[key] = new_future()
                    bearable_ns -= self._begin(request, check, future, bearable_ns, work, batch)
                request.futures.append(future)
        batch.end()
        return work

    def _begin(
        self,
        request: RuleChecks,
        check: Check,
        future: asyncio.Future[bool],
        bearable_ns: int,
        work: list[Work],
        batch: Batch,
    ) -> int:
        """Decides one check, or adds it to what needs a process. Returns the nanoseconds that it may have taken."""
        rule, response = check
        if len(response) > self._max_chars:
            fail_check(future, TooLong(f"the response has more than {self._max_chars} characters, too many for a rule"))
            return 0
        if rule.name not in RULES:
            fail_check(future, VerifierFailed("there is no such rule"))
            return 0
        # A gold answer of one capital letter may be a choice, which is found without a process. A response that does
        # not state it is compared as mathematics, where a letter is a variable.
        letter = rule.name == "math_verify" and names_a_choice(rule.params["gold"])
        name = "choice" if letter else rule.name
        ns = cost_ns(name, rule.params, response) if name in CHEAP else 0
        if name in CHEAP and ns <= min(_INLINE_NS, bearable_ns):
            met = CHEAP[name](rule.params, response)
            if met or not letter:
                future.set_result(met)
                return ns
        if rule.name in CHEAP:
            batch.add(check, future, ns)
        else:
            work.append(Work(request, (check,), (future,)))
        return ns if letter else 0

    def _assign(self) -> None:
        """Gives free processes to the checks whose turn it is."""
        while (turn := self._queue.take(len(self._free))) is not None:
            process = self._free.pop()  # the one used last: it is started, and has loaded a rule
            decision = _Decision(turn, process, asyncio.get_running_loop().time())
            task = asyncio.get_running_loop().create_task(self._decide(decision))
            running = turn.work.request.running
            running.add(task)
            task.add_done_callback(running.discard)
            # A task that is cancelled before its first step runs no line of its own.
            task.add_done_callback(partial(self._ended, decision))

    async def _decide(self, decision: _Decision) -> None:
        work = decision.turn.work
        try:
            answer = await decision.process.decide(job_of(work, self._timeout_s), self._timeout_s)
            decision.check_s = answer.get("cpu_s")
            decision.outcome = self._settle(work, answer)
        except TimeoutError:
            work.fail(self._timed_out())
            decision.outcome = "slow"
        except WorkerDied as error:
            work.fail(_stopping() if self._stopped else VerifierFailed(str(error)))
            decision.outcome = "failed"
        finally:
            self._end(decision)

    def _ended(self, decision: _Decision, task: asyncio.Task[None]) -> None:
        self._end(decision)

    def _end(self, decision: _Decision) -> None:
        """Frees the process and charges what the check took. Later calls do nothing."""
        if decision.ended:
            return
        decision.ended = True
        passed_s = min(asyncio.get_running_loop().time() - decision.started_s, self._timeout_s)
        check_s = passed_s if decision.check_s is None else decision.check_s
        turn, request = decision.turn, decision.turn.work.request
        self._free.append(decision.process)
        self._queue.finish(turn, check_s)
        self._telemetry.count_rule_check(turn.team, turn.work.checks[0][0].name, decision.outcome, check_s)
        if not request.meter(check_s) and not request.closed:
            self._end_unpaid(request)
        self._assign()

    def _settle(self, work: Work, answer: Mapping[str, Any]) -> str:
        """Gives the verdicts to those who wait for them; returns how the check ended, for the metrics."""
        met, error = answer.get("met"), answer.get("error", "crash")
        if isinstance(met, list) and len(met) == len(work.futures):
            for future, one in zip(work.futures, met, strict=True):
                if not future.done():
                    future.set_result(bool(one))
            return "decided"
        if error == "slow":
            work.fail(self._timed_out())
            return "slow"
        work.fail(VerifierFailed(_REASONS.get(error, _REASONS["crash"])))
        return "failed"

    def _end_unpaid(self, request: RuleChecks) -> None:
        """The team's quota is used up: what waits of this request ends without a verdict."""
        error = RuleQuotaUsedUp(f"team {request.tenant.team} has used its quota of rule seconds; try again later")
        for work in self._queue.remove(request.tenant.team, lambda work: work.request is request):
            work.fail(error)

    def _timed_out(self) -> VerifierFailed:
        return VerifierFailed(f"the rule did not finish within {self._timeout_s:g} s")


def _stopping() -> Cancelled:
    return Cancelled("the rules are being stopped")

"""Asks a judge of another rubricd over HTTP, which has caches, queues and quotas of its own.

A request names the fingerprint that the judge had at the start, so that another judge refuses it before any work; the
last line of each answer is checked as well. What is refused for now is sent again when the other service says, within
the request's deadline.

To the other service all teams here are one. So a bounded number of calls is there at a time, and the others wait here
for the place of one, which goes to the team that got least for its weight.

Guarantees: each candidate has its judgements, or a status that says why not, at the latest at the deadline; a caller
that leaves ends the call, and with it the work there.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import httpx

from service.clock import Clock, wait_all
from service.engine.upstream.calls import parse_json, retry_after_s
from service.engine.upstream.client import http_timeout, open_client
from service.engine.upstream.state import Busy, Changed, Upstream
from service.engine.upstream.urls import base_url
from service.errors import (
    ConfigurationError,
    JudgeMismatch,
    Later,
    Overloaded,
    RequestError,
    Unavailable,
)
from service.judges.composition import ComposedMode
from service.judges.judge import Judging
from service.judges.rubricd.bodies import body_of, described, tokens_of
from service.judges.rubricd.call import Call, Pay, problem_of
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes
from service.rubrics.rubric import Candidate
from service.scheduling import Tenant
from service.scoring.exam.grading import Grade, Trust
from service.scoring.fair_places import FairPlaces
from service.scoring.request import Options

log = logging.getLogger(__name__)

TRIES = 3
_MAX_CONNECTIONS = 256
_MOST_CALLS = 32
"""Each is a whole request: so many keep a judge busy that computes two batches at a time."""
_LARGEST_ANSWER = 512 * 1024 * 1024
"""All results of a request, of which one line at a time is held."""
_PATIENCE_S = 60.0
"""So long a refused request waits at the most, where it has no deadline."""


class RubricdJudge:
    """Create one with `connect`. `there` is its name in the other deployment, None where that has no names."""

    kind = "rubricd"
    rule: Mapping[str, str] = MappingProxyType({})
    grades: Mapping[str, Grade] = MappingProxyType({})
    dead = False

    def __init__(
        self, name: str, client: httpx.AsyncClient, there: str | None, clock: Clock, timeout_s: float, pay: Pay
    ) -> None:
        self.name = name
        self.max_model_len = 0
        self._client = client
        self._there = there
        self._clock = clock
        self._timeout_s = timeout_s
        self._pay = pay
        self._modes: JudgingModes[ComposedMode] | None = None
        self._trusts: Mapping[str, Trust] = {}
        self._upstream = Upstream(clock, self._probe)
        self._places = FairPlaces(_MOST_CALLS)
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls,
        name: str,
        url: str,
        *,
        there: str | None,
        key: str | None,
        expected: str | None,
        timeout_s: float,
        clock: Clock,
        pay: Pay = lambda team, dollars, unpriced: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Learns who the judge is. Raises ConfigurationError with what to change. `pay` hears what each team's
        judgements there cost."""
        base = base_url(url, "url")
        client = open_client(
            base,
            key,
            timeout_s=timeout_s,
            connections=_MAX_CONNECTIONS,
            transport=transport,
            largest=_LARGEST_ANSWER,
        )
        judge = cls(name, client, there, clock, timeout_s, pay)
        try:
            info = await judge._first_look(base)
            judge._modes, judge._trusts, judge.max_model_len = described(name, info, base)
        except BaseException:
            await judge.stop()
            raise
        found = judge.judging_modes.first.judge.fingerprint
        if expected not in (None, found):
            await judge.stop()
            raise ConfigurationError(f"the judge at {base} is {found}, and `expect_judge` is {expected}: correct one")
        judge._watching = asyncio.create_task(judge._upstream.run(), name="other rubricd")
        return judge

    @property
    def judging_modes(self) -> JudgingModes[ComposedMode]:
        assert self._modes is not None
        return self._modes

    @property
    def unavailable_reason(self) -> str | None:
        return self._upstream.reason

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        return self._trusts.get(judge.fingerprint, "unproven")

    def queries_each(self, options: Options) -> int:
        self.judging_modes.choose(*options.way)
        return options.votes * options.consistency

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        """Raises InvalidRequest. What else the other service refuses, it says when it is asked."""
        self.judging_modes.choose(*options.way)

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        """Returns once the other service has admitted them. Raises RequestError as that service does."""
        if (reason := self.unavailable_reason) is not None:
            raise Unavailable(reason)
        judge = self.judging_modes.choose(*options.way).judge
        tokens = tokens_of(candidates)
        reservation = None if options.reserve is None else await options.reserve(tokens)
        until_s = self._clock.now() + _PATIENCE_S if options.deadline_s is None else options.deadline_s
        call: Call | None = None
        try:
            for attempt in range(1, TRIES + 1):
                leave = await self._place(options.tenant, tokens, until_s)
                call = Call(self._client, self._upstream, self._clock, candidates, options, reservation, self._pay)
                try:
                    body = self._body(candidates, options, judge)
                except BaseException:
                    leave()
                    raise
                try:
                    return await call.start(body, judge.fingerprint, leave)
                except Later:
                    again_s = call.again_s
                    if attempt == TRIES or again_s is None or self._clock.now() + again_s >= until_s:
                        raise
                    await self._clock.sleep(again_s)
        except asyncio.CancelledError:
            if reservation is not None and call is None:  # it left while it waited for a place
                reservation.settle(0)
            raise
        except RequestError as error:
            if reservation is not None:
                reservation.settle(0)
            if isinstance(error, JudgeMismatch):
                self._upstream.changed(f"the judge was {judge.fingerprint}; {error}")
                raise Unavailable(self._upstream.reason or str(error)) from None
            raise
        raise AssertionError("each try returns or raises")

    async def _place(self, tenant: Tenant, tokens: int, until_s: float) -> Callable[[], None]:
        """What gives the place back; call it once. Raises Overloaded where other teams have all places until then."""
        leave = partial(self._places.release, tenant, tokens)
        if self._places.idle_places:
            await self._places.acquire(tenant)
            return leave
        waiting = asyncio.ensure_future(self._places.acquire(tenant))
        try:
            await wait_all(self._clock, [waiting], until_s)
        except BaseException:
            if not waiting.cancel():  # it had its place already
                self._places.release(tenant, 0.0)
            raise
        if not waiting.done():
            waiting.cancel()
            raise Overloaded("the other service has enough requests of this one; try again later", 1.0)
        return leave

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._client.aclose()

    def _body(self, candidates: Sequence[Candidate], options: Options, judge: JudgeIdentity) -> dict[str, Any]:
        """Raises InvalidRequest where the other service cannot be asked that."""
        left_ms = None
        if options.deadline_s is not None:
            left_ms = max(1, round((options.deadline_s - self._clock.now()) * 1000))
        return body_of(candidates, options, self._there, judge.fingerprint, left_ms)

    async def _first_look(self, url: str) -> Any:
        try:
            response = await self._client.get("/v1/judge", params=self._named)
        except Exception as error:
            raise ConfigurationError(
                f"{url} does not answer ({type(error).__name__}): start that rubricd first, or correct `url`"
            ) from None
        if response.status_code == 200:
            return parse_json(response)
        problem = problem_of(response)
        detail = problem.get("detail", "") if isinstance(problem, dict) else ""
        raise ConfigurationError(
            f"{url}/v1/judge answered with status {response.status_code} ({detail}): correct `url`, `judge` or "
            "`key_env`"
        )

    async def _probe(self, with_verdict: bool) -> None:
        """Raises Changed, Busy, or anything else where it does not answer."""
        response = await self._client.get("/v1/judge", params=self._named, timeout=http_timeout(10.0))
        if (pause_s := retry_after_s(response)) is not None and response.status_code == 429:
            raise Busy(pause_s)
        response.raise_for_status()
        first = self.judging_modes.first.judge.fingerprint
        found = parse_json(response).get("fingerprint")
        if found != first:
            raise Changed(f"the judge is {found!s:.64}, and was {first}")

    @property
    def _named(self) -> dict[str, str]:
        return {} if self._there is None else {"judge": self._there}

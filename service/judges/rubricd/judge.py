"""Asks a judge of another rubricd over HTTP, which has caches, queues and quotas of its own.

A request names the fingerprint that the judge had at the start, so that another judge refuses it before any work; the
last line of each answer is checked as well. What is refused for now is sent again when the other service says, within
the request's deadline.

Guarantees: each candidate has its judgements, or a status that says why not, at the latest at the deadline; a caller
that leaves ends the call, and with it the work there.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import httpx

from service.clock import Clock
from service.engine.upstream.calls import parse_json, retry_after_s
from service.engine.upstream.client import http_timeout, open_client
from service.engine.upstream.state import Busy, Changed, Upstream
from service.engine.upstream.urls import base_url
from service.errors import (
    ConfigurationError,
    EngineFailed,
    JudgementError,
    JudgeMismatch,
    Later,
    RequestError,
    TimedOut,
    Unavailable,
)
from service.judges.composition import ComposedMode
from service.judges.judge import Judging
from service.judges.rubricd.bodies import body_of, described, judgements_of, refusal, tokens_of, used
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes
from service.rubrics.judgement import Judgement, failed
from service.rubrics.rubric import Candidate
from service.scoring.exam.grading import Grade, Trust
from service.scoring.request import Options, Reservation, Usage

log = logging.getLogger(__name__)

TRIES = 3
_MAX_CONNECTIONS = 256
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

    def __init__(self, name: str, client: httpx.AsyncClient, there: str | None, clock: Clock, timeout_s: float) -> None:
        self.name = name
        self.max_model_len = 0
        self._client = client
        self._there = there
        self._clock = clock
        self._timeout_s = timeout_s
        self._modes: JudgingModes[ComposedMode] | None = None
        self._trusts: Mapping[str, Trust] = {}
        self._upstream = Upstream(clock, self._probe)
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Learns who the judge is. Raises ConfigurationError with what to change."""
        base = base_url(url, "url")
        client = open_client(
            base,
            key,
            timeout_s=timeout_s,
            connections=_MAX_CONNECTIONS,
            transport=transport,
            largest=_LARGEST_ANSWER,
        )
        judge = cls(name, client, there, clock, timeout_s)
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
        reservation = None if options.reserve is None else await options.reserve(tokens_of(candidates))
        until_s = self._clock.now() + _PATIENCE_S if options.deadline_s is None else options.deadline_s
        try:
            for attempt in range(1, TRIES + 1):
                call = _Call(self._client, self._upstream, self._clock, candidates, options, reservation)
                try:
                    return await call.start(self._body(candidates, options, judge), judge.fingerprint)
                except Later:
                    again_s = call.again_s
                    if attempt == TRIES or again_s is None or self._clock.now() + again_s >= until_s:
                        raise
                    await self._clock.sleep(again_s)
        except RequestError as error:
            if reservation is not None:
                reservation.settle(0)
            if isinstance(error, JudgeMismatch):
                self._upstream.changed(f"the judge was {judge.fingerprint}; {error}")
                raise Unavailable(self._upstream.reason or str(error)) from None
            raise
        raise AssertionError("each try returns or raises")

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
        problem = _problem(response)
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


class _Call:
    """One call: a task reads its lines, so that whoever closes this ends the call."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        upstream: Upstream,
        clock: Clock,
        candidates: Sequence[Candidate],
        options: Options,
        reservation: Reservation | None,
    ) -> None:
        self.usage = Usage(unpriced=sum(len(one.criteria) for one in candidates))
        self.again_s: float | None = None
        """When the other service says to come back."""
        self._client = client
        self._upstream = upstream
        self._clock = clock
        self._candidates = candidates
        self._deadline_s = options.deadline_s
        self._reservation = reservation
        self._found: asyncio.Queue[tuple[int, list[Judgement]] | JudgementError | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None

    async def start(self, body: dict[str, Any], fingerprint: str) -> Self:
        """Raises RequestError as the other service refuses it, Unavailable where that does not answer."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(body, fingerprint, admitted), name="call of another rubricd")
        try:
            await admitted
        except BaseException:
            self.close()
            raise
        return self

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        waiting = set(range(len(self._candidates)))
        late = None
        if self._deadline_s is not None:
            late = asyncio.ensure_future(self._clock.sleep(self._deadline_s - self._clock.now()))
        why: JudgementError = EngineFailed("the other service ended its answer without this result")
        try:
            while waiting:
                one = await _next(self._found, late)
                if isinstance(one, tuple):
                    waiting.discard(one[0])
                    yield one
                    continue
                why = one or why
                break
            if not waiting:
                await _next(self._found, late)  # the last line: what it cost, and who it was
        finally:
            if late is not None:
                late.cancel()
            self.close()
        for i in sorted(waiting):
            yield i, [failed(type(why)(str(why)), "judge") for _ in self._candidates[i].criteria]

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, body: dict[str, Any], fingerprint: str, admitted: "asyncio.Future[None]") -> None:
        """Whatever goes wrong is raised to who waits: for the admission, or for results."""
        try:
            async with self._client.stream(
                "POST", "/v1/score", json=body, headers={"Accept": "application/x-ndjson"}
            ) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    self.again_s = retry_after_s(answer)
                    if answer.status_code >= 500 and answer.status_code != 503:
                        self._upstream.call_failed()
                    raise refusal(answer.status_code, _problem(answer), self.again_s or 1.0)
                admitted.set_result(None)
                await self._lines(answer, fingerprint)
        except RequestError as error:
            _tell(admitted, error)
        except Exception as error:
            self._upstream.call_failed()
            why = str(error) if isinstance(error, JudgementError) else f"({type(error).__name__})"
            _tell(admitted, Unavailable(f"the other service could not be called {why}"))
            self._found.put_nowait(
                error if isinstance(error, JudgementError) else EngineFailed(f"the other service broke off {why}")
            )

    async def _lines(self, answer: httpx.Response, fingerprint: str) -> None:
        """Raises EngineFailed for a line that is none of the contract's."""
        async for text in answer.aiter_lines():
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                raise EngineFailed("the other service sent a line that is no JSON") from None
            if isinstance(line, dict) and line.get("done") is True:
                self._end(line, fingerprint)
                return
            index = line.get("index") if isinstance(line, dict) else None
            if type(index) is not int or not 0 <= index < len(self._candidates):
                raise EngineFailed("the other service sent a result that nobody asked for")
            self._found.put_nowait((index, judgements_of(line, self._candidates[index].criteria)))
        raise EngineFailed("the other service ended its answer early")

    def _end(self, line: dict[str, Any], fingerprint: str) -> None:
        used(line, self.usage)
        if self._reservation is not None:
            usage = self.usage
            self._reservation.settle(usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens)
        judge = line.get("judge")
        found = judge.get("fingerprint") if isinstance(judge, dict) else None
        if found != fingerprint:
            self._upstream.changed(f"the judge is {found!s:.64}, and was {fingerprint}")
            self._found.put_nowait(EngineFailed("another judge has answered"))
            return
        self._upstream.call_answered()
        self._found.put_nowait(None)


def _tell(admitted: "asyncio.Future[None]", error: RequestError) -> None:
    if not admitted.done():
        admitted.set_exception(error)


async def _next(
    found: "asyncio.Queue[tuple[int, list[Judgement]] | JudgementError | None]", late: "asyncio.Future[None] | None"
) -> "tuple[int, list[Judgement]] | JudgementError | None":
    """What comes next; TimedOut where the deadline comes before."""
    if late is None or not found.empty():
        return await found.get()
    getting = asyncio.ensure_future(found.get())
    waits: tuple[asyncio.Future[Any], ...] = (getting, late)
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else TimedOut("the deadline passed before the other service answered")
    finally:
        getting.cancel()


def _problem(answer: httpx.Response) -> Any:
    with contextlib.suppress(EngineFailed):
        return parse_json(answer)
    return None

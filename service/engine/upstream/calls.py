"""Sends calls to a judge's server: bounded in number and in time, and aborted when nobody waits for them.

Guarantees: whatever happens to a call, each of its prompts has one outcome, and no other call is affected. Nothing is
retried, and no text of a server's error is passed on, because it may quote the prompt. What came while there was a new
connection is given out once the server was asked again who it is. No call is sent while the server is down, or asks to
be left alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from service.engine.base import Prompt
from service.engine.upstream.client import http_timeout
from service.engine.upstream.state import Upstream
from service.errors import Cancelled, EngineFailed, JudgeBusy, JudgementError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# Of the statuses below 500, those that tell of the server or of this service's key, and not of the request.
_STATUSES_OF_THE_SERVER = frozenset({401, 403, 404, 408})
_PAUSE_S = 1.0
STOPPED_REASON = "the judge was stopped"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one protocol's calls are: a path, and how its refusals are read. `pause_s` says for how long an answer asks
    to be left alone, None where it does not; `error` says what any other answer than 200 means, of so many prompts.
    `read` takes the document from an answer, and raises EngineFailed where there is none."""

    path: str
    pause_s: Callable[[httpx.Response], float | None]
    error: Callable[[httpx.Response, int], JudgementError]
    read: Callable[[httpx.Response], Any]


class JudgeCalls:
    """Makes the calls of one dialect, at most `max_concurrency` at a time. `confirm` asks the server who it is, and
    raises EngineFailed where it is not the judge that was named, or does not say."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        dialect: Dialect,
        max_concurrency: int,
        upstream: Upstream,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._slots = asyncio.Semaphore(max_concurrency)
        self._upstream = upstream
        self._confirm = confirm
        self._by_prompt: dict[int, set[_PendingCall]] = {}
        self._stopped = False
        self._opened = 0
        self._confirmed = 0
        self._confirming = asyncio.Lock()

    @property
    def unfinished(self) -> int:
        """Prompts whose calls are waiting for a slot or for the server."""
        return len(self._by_prompt)

    async def post(
        self, prompts: Sequence[Prompt], body: dict[str, Any], parse: Callable[[Any], Sequence[_T]], timeout_s: float
    ) -> Sequence[_T | JudgementError]:
        """Returns what `parse` makes of the response, one outcome for each prompt.

        `timeout_s` runs once the call has a slot: time spent waiting behind others is not the server's. It runs once
        more where the server asks to be left alone.
        """
        call = _PendingCall(prompts)
        self._register(call)
        try:
            async with call.cancel_scope, self._slots:
                await self._upstream.clear(timeout_s)
                return await self.exchange(len(prompts), body, parse, timeout_s)
        except JudgementError as failure:
            error = EngineFailed(STOPPED_REASON) if self._stopped else failure
        except TimeoutError:  # it was given up: cancelling is a timeout that was moved to now
            error = Cancelled("nobody waits for this prompt any more")
            if self._stopped:
                error = EngineFailed(STOPPED_REASON)
        finally:
            self._unregister(call)
        return [type(error)(str(error)) for _ in prompts]

    async def exchange(
        self, prompts: int, body: dict[str, Any], parse: Callable[[Any], Sequence[_T]], timeout_s: float
    ) -> list[_T | JudgementError]:
        """One call, sent at once. The upstream hears how it ended. Raises JudgementError."""
        try:
            return await self._exchange(prompts, body, parse, timeout_s)
        except JudgeBusy:  # this is logged once for all calls
            raise
        except JudgementError as error:
            _log.warning("a call to the judge's server failed for %d prompts: %s", prompts, error)
            raise

    async def _exchange(
        self, prompts: int, body: dict[str, Any], parse: Callable[[Any], Sequence[_T]], timeout_s: float
    ) -> list[_T | JudgementError]:
        try:
            response = await self._send(body, timeout_s)
            if response.status_code == httpx.codes.OK:
                parsed = require_outcomes(parse(self._dialect.read(response)))
                await self._confirm_connections()
                self._upstream.call_answered()
                return parsed
        except EngineFailed:
            self._upstream.call_failed()
            raise
        if (pause_s := self._dialect.pause_s(response)) is not None:
            self._upstream.pause(pause_s)
            raise JudgeBusy("the judge's server takes no work now; try again later")
        if response.status_code >= 500 or response.status_code in _STATUSES_OF_THE_SERVER:
            self._upstream.call_failed()
        raise self._dialect.error(response, prompts)

    async def _send(self, body: dict[str, Any], timeout_s: float) -> httpx.Response:
        """Raises EngineFailed, whatever goes wrong: httpx raises RuntimeError once the client is closed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.post(
                    self._dialect.path, json=body, timeout=http_timeout(timeout_s), extensions={"trace": self._trace}
                )
        except EngineFailed:
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            raise EngineFailed(f"the judge's server did not answer within {timeout_s:g} s") from error
        except Exception as error:
            raise EngineFailed(f"the judge's server could not be called: {type(error).__name__}") from error

    async def _trace(self, event: str, info: object) -> None:
        """httpcore tells of each step of a call. A new connection may lead to another server under the same URL."""
        if event.startswith("connection.connect_") and event.endswith(".complete"):
            self._opened += 1

    async def _confirm_connections(self) -> None:
        """Asks once for all connections that were opened since the last time."""
        opened = self._opened
        if self._confirmed < opened:
            async with self._confirming:
                if self._confirmed < opened:
                    opened = self._opened
                    await self._confirm()
                    self._confirmed = opened

    def cancel(self, prompt: Prompt) -> None:
        """Aborts the calls of which this is the last prompt that somebody waits for."""
        for call in self._by_prompt.get(id(prompt), ()):
            call.cancel(prompt)

    def stop(self) -> None:
        """Aborts all calls; a closed client would let them wait for their responses."""
        self._stopped = True
        for call in {call for calls in self._by_prompt.values() for call in calls}:
            call.abort()

    def _register(self, call: "_PendingCall") -> None:
        for prompt in call.prompts:
            self._by_prompt.setdefault(id(prompt), set()).add(call)

    def _unregister(self, call: "_PendingCall") -> None:
        for key in {id(prompt) for prompt in call.prompts}:
            self._by_prompt[key].discard(call)
            if not self._by_prompt[key]:
                del self._by_prompt[key]


class _PendingCall:
    """One call that is not finished. It holds its prompts, so that no other object can have their ids meanwhile."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self.prompts = prompts
        self.cancel_scope = asyncio.timeout(None)
        self._waited_for = {id(prompt) for prompt in prompts}

    def cancel(self, prompt: Prompt) -> None:
        self._waited_for.discard(id(prompt))
        if not self._waited_for:
            self.abort()

    def abort(self) -> None:
        if not self.cancel_scope.expired():
            self.cancel_scope.reschedule(asyncio.get_running_loop().time())


def require_outcomes(outcomes: Sequence[_T | JudgementError | None]) -> list[_T | JudgementError]:
    """Returns all outcomes. Raises EngineFailed where one is missing, or where the engine failed on every one, as the
    whole batch failed then."""
    found = [outcome for outcome in outcomes if outcome is not None]
    if len(found) != len(outcomes):
        raise EngineFailed("a prompt was left without an outcome")
    if found and all(isinstance(outcome, EngineFailed) for outcome in found):
        raise EngineFailed(str(found[0]))
    return found


def parse_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise EngineFailed("the judge's server answered something that is not JSON") from error


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds for which a server that is overloaded asks to be left alone. None where it does not ask."""
    told = response.headers.get("retry-after", "").strip()
    if response.status_code not in (429, 503) or (response.status_code == 503 and not told):
        return None
    if told.isdecimal():
        return max(_PAUSE_S, float(told[:9]))
    try:  # a date, which is measured by the server's own clock
        until, now = (parsedate_to_datetime(text) for text in (told, response.headers.get("date", "")))
        return max(_PAUSE_S, (until - now).total_seconds())
    except (ValueError, TypeError):
        return _PAUSE_S

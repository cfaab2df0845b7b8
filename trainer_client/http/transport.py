"""Sends calls to the service, at one of its addresses, each with the retries that `retry` decides on.

Guarantees: a call ends in an answer, in one typed error, or in its cancellation, not later than its deadline, and its
place is released. When the service is overloaded, fewer calls are under way.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import httpx

from trainer_client import wire
from trainer_client.errors import (
    AnswerTimedOut,
    ConnectFailed,
    ConnectionBroken,
    DeadlineExceeded,
    Overloaded,
    QuotaExceeded,
    RubricdClientError,
    TransportError,
    Unavailable,
)
from trainer_client.http.addresses import Address, Addresses
from trainer_client.http.connections import Connections, ConnectionsByLoop
from trainer_client.http.headers import HEADER, affinity, traced
from trainer_client.http.retry import Clock, Retries, RetryPolicy
from trainer_client.http.usage import RETRY, ClientUsage
from trainer_client.http.validation import NDJSON

_T = TypeVar("_T")

Body = Callable[[float | None], str]
"""A request's body, made from the seconds left (None without a deadline) each time it is sent."""

_CONNECT_S = 5.0
_READY_S = 5.0
_asked: ContextVar[Address | None] = ContextVar("asked", default=None)
"""The address that the attempt under way in this task was sent to."""
# After these errors fewer requests are under way.
_TOO_MUCH = (Overloaded, Unavailable, QuotaExceeded, AnswerTimedOut)
# The service gets a little less than the time that is left, so that its answer is back before the deadline.
_WAY_BACK_S = 0.25
_WAY_BACK_SHARE = 0.1


class Transport:
    """Connection pools with `concurrency` places, one for each event loop. `timeout_s` bounds one attempt.

    A call holds a place, also while it waits for its next attempt. Of the calls that have a place, the throttle lets
    some be under way: an overloaded service sees fewer of them.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str | None,
        concurrency: int,
        timeout_s: float,
        retry: RetryPolicy,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._token = token
        self._timeout_s = timeout_s
        self._clock = clock
        self._retries = Retries(retry, rng, clock)
        checked = [_checked_url(url) for url in urls]
        if token is not None and any(url.userinfo for url in checked):
            raise ValueError("a url with a user or a password takes no token: both would be sent in one header")
        self.addresses = Addresses(checked, clock.now)
        open_http = partial(
            httpx.AsyncClient,
            headers=_headers(token),
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=concurrency),
            transport=transport,
        )
        self._connections = ConnectionsByLoop(open_http, concurrency)
        self.usage = ClientUsage()

    async def aclose(self) -> None:
        """Closes the connections that were opened in this event loop; a later call opens new ones."""
        await self._connections.aclose()

    def together(self, items: Sequence[wire.Item] | Sequence[wire.PairItem]) -> dict[str, str]:
        """The header that keeps calls about one prompt on one replica; none where prompts differ."""
        value = affinity(items, self._token)
        return {} if value is None else {HEADER: value}

    def deadline(self, seconds: float | None) -> float | None:
        """The time in so many seconds, on the clock that calls use; None for no limit."""
        if seconds is None or seconds == math.inf:
            return None
        if not math.isfinite(seconds):
            raise ValueError("a deadline must be a number of seconds")
        return self._clock.now() + seconds

    async def call(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], _T],
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> _T:
        """Returns `read(response)`. Raises RubricdClientError, also those that `read` raises."""

        async def once() -> _T:
            return read(await self.send(method, path, body=body, headers=headers, deadline=deadline))

        return await self.retrying(once, deadline)

    async def retrying(
        self, once: Callable[[], Awaitable[_T]], deadline: float | None, *, wait_for_judge: bool = False
    ) -> _T:
        """Returns the result of `once`, which makes one attempt. Raises the last attempt's RubricdClientError."""
        here = await self._connections.here()
        await self._within(deadline, here.places.acquire(), "a place was free to send from")
        attempts = 0

        async def attempt() -> _T:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                self.usage += RETRY
            return await once()

        try:
            place = partial(self._under_way, here, deadline)
            return await self._retries.run(attempt, place, deadline, line=here.line if wait_for_judge else None)
        finally:
            here.places.release()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        address: Address | None = None,
    ) -> httpx.Response:
        """Makes one attempt, at `address` or the one that is chosen; the response may have any status. Raises
        TransportError or DeadlineExceeded."""
        left_s = self._clock.left_s(deadline)
        content = None if body is None else body(left_s)
        http = (await self._connections.here()).http
        address = address or self._chosen(headers)
        async with self._answering(left_s, address):
            return await http.request(method, address.at(path), content=content, headers=traced(headers or {}))

    async def is_ready(self, address: Address) -> bool:
        """Whether the service at this address would judge now. It is asked once."""
        try:
            response = await self.send("GET", "/readyz", deadline=self.deadline(_READY_S), address=address)
        except RubricdClientError:
            return False
        return response.status_code == 200

    async def send_streaming(
        self,
        path: str,
        opened: Callable[[httpx.Response], Callable[[bytes], None]],
        *,
        body: Body,
        headers: Mapping[str, str],
        deadline: float | None,
    ) -> None:
        """One attempt at an answer in lines. `opened` gets the response, of another status than 200 with its body, and
        returns what takes each line, without its end. A rest without an end is no line. Raises as `send` does."""
        left_s = self._clock.left_s(deadline)
        headers = traced({**headers, "accept": NDJSON})
        http = (await self._connections.here()).http
        address = self._chosen(headers)
        async with (
            self._answering(left_s, address),
            http.stream("POST", address.at(path), content=body(left_s), headers=headers) as response,
        ):
            if response.status_code != 200:
                await response.aread()
            take, rest = opened(response), b""
            # Not by httpx's lines: those end at U+2028 too, which may stand in a JSON text.
            async for piece in response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    take(line)

    def _chosen(self, headers: Mapping[str, str] | None) -> Address:
        """The address of one attempt. It is remembered for `_under_way`, which sees how the attempt ends."""
        address = self.addresses.choose((headers or {}).get(HEADER))
        _asked.set(address)
        return address

    @asynccontextmanager
    async def _answering(self, left_s: float | None, address: Address) -> AsyncIterator[None]:
        """Applies one attempt's time limit, and raises httpx's errors as ours."""
        try:
            async with asyncio.timeout(self._timeout_s if left_s is None else min(self._timeout_s, left_s)):
                yield
        except TimeoutError:
            if left_s is not None and left_s <= self._timeout_s:
                raise DeadlineExceeded("the deadline passed before the answer came") from None
            raise AnswerTimedOut(f"no answer within {self._timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise _transport_error(error, address.url) from None

    @asynccontextmanager
    async def _under_way(self, here: Connections, deadline: float | None) -> AsyncIterator[None]:
        """Holds one of the throttle's places during an attempt, and reports its result to the throttle and for its
        address."""
        entered = await self._within(deadline, here.throttle.enter(), "it was this request's turn")
        _asked.set(None)
        try:
            await self._retries.opening(deadline)
            if deadline_ms(self._clock.left_s(deadline)) == 0:
                raise DeadlineExceeded("the deadline passed before the request was sent")
            yield
            here.throttle.grow()
            if (asked := _asked.get()) is not None:
                self.addresses.succeeded(asked)
        except RubricdClientError as error:
            if isinstance(error, _TOO_MUCH):
                here.throttle.cut(entered)
            if (asked := _asked.get()) is not None:
                error.elsewhere = self.addresses.failed(asked, error)
            raise
        finally:
            here.throttle.leave()

    async def _within(self, deadline: float | None, waiting: Coroutine[Any, Any, _T], what: str) -> _T:
        try:
            async with asyncio.timeout(self._clock.left_s(deadline)):
                return await waiting
        except TimeoutError:
            raise DeadlineExceeded(f"the deadline passed before {what}") from None


def deadline_ms(left_s: float | None) -> int | None:
    """The time that the service gets of the seconds left, in whole milliseconds. 0: it is too late to send."""
    if left_s is None:
        return None
    return int(1000 * (left_s - min(_WAY_BACK_S, _WAY_BACK_SHARE * left_s)))


def _transport_error(error: httpx.HTTPError, url: httpx.URL) -> TransportError:
    where, reason = url.netloc.decode(), str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        plain = url.scheme == "https" and "WRONG_VERSION_NUMBER" in reason
        remedy = "write http:// in its url" if plain else "start the service there, or correct its url"
        return ConnectFailed(f"cannot connect to {where} ({reason}); {remedy}")
    if isinstance(error, httpx.TimeoutException):
        return AnswerTimedOut(f"{where}: {reason}")
    return ConnectionBroken(f"{where}: {reason}")


def _checked_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("a url must look like http://host:port")
    return parsed


def _headers(token: str | None) -> dict[str, str]:
    headers = {"user-agent": "rubricd-client", "accept": "application/json", "content-type": "application/json"}
    if token is not None:
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise ValueError("the token holds white space or characters that no token has")
        headers["authorization"] = f"Bearer {token}"
    return headers

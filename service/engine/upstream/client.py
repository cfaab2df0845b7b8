"""Opens the HTTP client of a judge's server: nothing that the server sends takes more memory than it may.

Guarantees: a key is sent to the host of the base URL alone, as redirects are not followed and no proxy of the
environment is used. An answer that is larger than its limit, or packed although that was not asked for, is a failure,
and no more of it is read.
"""

from collections.abc import AsyncIterator

import httpx

from service.errors import EngineFailed

LARGEST_ANSWER = 64 * 1024 * 1024
_CONNECT_TIMEOUT_S = 10.0


def open_client(
    url: str,
    key: str | None,
    *,
    timeout_s: float,
    connections: int,
    transport: httpx.AsyncBaseTransport | None,
    largest: int = LARGEST_ANSWER,
) -> httpx.AsyncClient:
    """`largest` is that of one answer, in bytes."""
    limits = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(
        base_url=url,
        headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})},
        timeout=http_timeout(timeout_s),
        follow_redirects=False,
        trust_env=False,
        transport=_Bounded(transport or httpx.AsyncHTTPTransport(limits=limits, trust_env=False), largest),
    )


def http_timeout(timeout_s: float) -> httpx.Timeout:
    """The same limit for each phase of a call; a server that is not there is noticed sooner."""
    return httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))


class _Bounded(httpx.AsyncBaseTransport):
    def __init__(self, transport: httpx.AsyncBaseTransport, largest: int) -> None:
        self._transport = transport
        self._largest = largest

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises EngineFailed."""
        response = await self._transport.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise EngineFailed("the judge's server packs its answers, which was not asked for")
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, self._largest)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, largest: int) -> None:
        self._stream = stream
        self._left = largest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise EngineFailed("the judge's server sends an answer that is larger than any may be")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()

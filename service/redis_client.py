"""The Redis client makes every call with a timeout and through one circuit breaker.

The breaker is written by hand: redis-py fails or retries call by call, and here the first fault lets all other calls
fail at once until Redis answers a ping.

Guarantees: a call returns or raises RedisUnavailable, within the timeout or, where those take longer, some twenty turns
of the event loop. The first timeout or connection fault opens the breaker; while it is open every call raises at once;
it closes when a ping in the background is answered. An error of one command fails that command alone. Nothing is sent
twice: the caller decides what a fault means.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.clock import Clock
from service.errors import ConfigurationError

T = TypeVar("T")
Argument = bytes | str | int

_CONCURRENT_CALLS = 16
_PING_EVERY_S = 1.0
_TIMEOUT_PARTS = 10
_CLOSE_S = 5.0
_URL_FORMS = (
    "write redis://, rediss:// or unix://, redis+cluster://host:port or rediss+cluster://host:port, "
    "or redis+sentinel://host:port,host:port/master_name"
)


class RedisUnavailable(Exception):
    """Redis is unreachable or slow, the breaker is open, or Redis refused this command."""


class RedisClient:
    """`url` is redis://, rediss://, unix://, redis+cluster://host:port, rediss+cluster://host:port or
    redis+sentinel://host1:port,host2:port/master_name[/db]. `on_fault` is called with the kind of each fault: timeout,
    connection, loading, oom, readonly, wrong_type or other. Raises ConfigurationError for another URL. The first call
    connects."""

    def __init__(
        self, url: str, *, timeout_s: float, clock: Clock, on_fault: Callable[[str], None] = lambda kind: None
    ) -> None:
        self._client, self._sentinel = _client(url)
        self._execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        self._timeout_s = timeout_s
        self._clock = clock
        self._on_fault = on_fault
        self._slots = asyncio.Semaphore(_CONCURRENT_CALLS)
        self._recovering: asyncio.Task[None] | None = None

    @property
    def breaker_open(self) -> bool:
        """Returns whether every call raises at once, until Redis answers a ping."""
        return self._recovering is not None

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the keys' order, in one round trip. None for a key that is absent or has no string."""
        if not keys:
            return []
        if isinstance(self._client, RedisCluster):
            found = await self.pipeline([("GET", key) for key in keys])
            return [value if isinstance(value, bytes) else None for value in found]
        return await self._call(lambda: self._execute("MGET", *keys))

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Sends the commands in one round trip (in a cluster, one for each node), without a transaction. The replies
        are in order, as redis-py reads them. A command's own error is an exception in its place."""
        if not commands:
            return []
        replies = await self._call(lambda: self._pipelined(commands))
        for reply in replies:
            if isinstance(reply, Exception):
                self._on_fault(_kind(reply))
        return replies

    async def script(self, lua: str, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        """The result of the script. In a cluster its keys must be in one slot."""
        arguments = [len(keys), *keys, *args]
        sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()

        async def run() -> Any:
            try:
                return await self._execute("EVALSHA", sha, *arguments)
            except NoScriptError:
                return await self._execute("EVAL", lua, *arguments)

        return await self._call(run)

    async def aclose(self) -> None:
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait({self._recovering})
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _call(self, do: Callable[[], Awaitable[T]]) -> T:
        """Waits for a slot first, outside the timeout: many callers at once are not a slow Redis."""
        self._refuse_if_open()
        async with self._slots:
            self._refuse_if_open()
            try:
                return await self._within(do)
            except Exception as error:
                kind = _kind(error)
                self._on_fault(kind)
                # These say that Redis cannot answer. The others are the fault of one command.
                if kind in ("timeout", "connection", "loading"):
                    self._open_breaker()
                raise RedisUnavailable(kind) from error

    async def _within(self, do: Callable[[], Awaitable[T]]) -> T:
        """Raises TimeoutError. The timeout runs in parts, so that a slow event loop reads from Redis as often as a
        quick one before it gives up."""
        task: asyncio.Future[T] = asyncio.ensure_future(do())
        try:
            for _ in range(_TIMEOUT_PARTS):
                await asyncio.wait({task}, timeout=self._timeout_s / _TIMEOUT_PARTS)
                if task.done():
                    return task.result()
            raise TimeoutError
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _pipelined(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, RedisConnectionError | RedisTimeoutError):
                raise reply
        return replies

    def _refuse_if_open(self) -> None:
        if self.breaker_open:
            raise RedisUnavailable("breaker open")

    def _open_breaker(self) -> None:
        if self._recovering is None:
            self._recovering = asyncio.get_running_loop().create_task(self._recover(), name="redis-recover")

    async def _recover(self) -> None:
        while True:
            await self._clock.sleep(_PING_EVERY_S)
            try:
                await self._within(self._ping)
            except Exception:
                continue
            self._recovering = None
            return

    async def _ping(self) -> None:
        if isinstance(self._client, RedisCluster):
            await self._execute("PING", target_nodes=RedisCluster.PRIMARIES)
        else:
            await self._execute("PING")


def _kind(error: Exception) -> str:
    """The kind of a fault, as the metrics count it."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "timeout"
    if isinstance(error, BusyLoadingError):
        return "loading"
    if isinstance(error, RedisConnectionError | RedisClusterException | OSError):
        return "connection"
    if isinstance(error, OutOfMemoryError):
        return "oom"
    if isinstance(error, ReadOnlyError):
        return "readonly"
    if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
        return "wrong_type"
    return "other"


def _client(url: str) -> tuple[Redis | RedisCluster, Sentinel | None]:
    """RESP2 and no client info, so that a new connection costs no round trip more than it must."""
    options: dict[str, Any] = {
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": _CLOSE_S,  # calls have a shorter timeout of their own; this one is for closing
        "max_connections": 1024,  # `_CONCURRENT_CALLS` is the real bound
    }
    try:
        parts = urlsplit(url)
        scheme, plus, kind = parts.scheme.partition("+")
        if scheme == "redis" and kind == "sentinel":
            return _by_sentinel(parts, options)
        if kind == "cluster" and scheme in ("redis", "rediss") and parts.hostname and parts.path in ("", "/"):
            return RedisCluster.from_url(parts._replace(scheme=scheme).geturl(), **options), None
        where = parts.path if scheme == "unix" else parts.hostname
        if plus or scheme not in ("redis", "rediss", "unix") or not where:
            raise ValueError
        if scheme != "unix" and parts.path.strip("/"):
            int(parts.path.strip("/"))
        return Redis.from_url(url, **options), None
    except (ValueError, TypeError, RedisError) as error:
        raise ConfigurationError(f"the Redis URL cannot be used: {_URL_FORMS}") from error


def _by_sentinel(parts: SplitResult, options: dict[str, Any]) -> tuple[Redis, Sentinel]:
    """Raises ValueError. The URL's user and password are for the servers, not for the sentinels."""
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    master, _, db = parts.path.strip("/").partition("/")
    addresses = []
    for host, _, port in (address.rpartition(":") for address in hosts.split(",")):
        if not host:
            raise ValueError
        addresses.append((host.strip("[]"), int(port)))
    if not master or parts.query:
        raise ValueError
    sentinel = Sentinel(addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    options = options | {"username": unquote(user) or None, "password": unquote(password) or None, "db": int(db or 0)}
    return sentinel.master_for(unquote(master), **options), sentinel

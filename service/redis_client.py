"""The one way to Redis: every call has a timeout and goes through one breaker.

Always true: a call either answers or raises RedisUnavailable, within the timeout or, where those take longer, some
twenty turns of the event loop; the first timeout or connection fault opens the breaker, and while it is open every call
raises at once, until a ping in the background is answered. An error of one command is that command's alone. Nothing is
sent twice: whoever calls decides what a fault means.
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
Word = bytes | str | int

_AT_ONCE = 16
_PING_EVERY_S = 1.0
_PARTS = 10
_CLOSE_S = 5.0
_HOW = (
    "write redis://, rediss:// or unix://, redis+cluster://host:port or rediss+cluster://host:port, "
    "or redis+sentinel://host:port,host:port/master_name"
)


class RedisUnavailable(Exception):
    """The link is down, slow, or refused this command."""


class RedisClient:
    """`url` is redis://, rediss://, unix://, redis+cluster://host:port, rediss+cluster://host:port or
    redis+sentinel://host1:port,host2:port/master_name[/db]. `faulted` hears of each fault one word: timeout,
    connection, loading, oom, readonly, wrong_type, corrupt or other. Raises ConfigurationError; connects to nothing
    yet."""

    def __init__(
        self, url: str, *, timeout_s: float, clock: Clock, faulted: Callable[[str], None] = lambda kind: None
    ) -> None:
        self._client, self._sentinel = _client(url)
        self._execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        self._timeout_s = timeout_s
        self._clock = clock
        self._faulted = faulted
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._mending: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        """The breaker is open."""
        return self._mending is not None

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in order, in one round trip; what is not a string is None."""
        if not keys:
            return []
        if isinstance(self._client, RedisCluster):
            found = await self.pipeline([("GET", key) for key in keys])
            return [value if isinstance(value, bytes) else None for value in found]
        return await self._call(lambda: self._execute("MGET", *keys))

    async def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """One round trip (in a cluster, one a node), no transaction. Answers in order, as redis-py reads them; a
        command's own error is an exception in its place."""
        if not commands:
            return []
        answers = await self._call(lambda: self._pipelined(commands))
        for answer in answers:
            if isinstance(answer, Exception):
                self._faulted(_kind(answer))
        return answers

    async def script(self, lua: str, keys: Sequence[bytes], args: Sequence[Word]) -> Any:
        """What the script returns. In a cluster its keys must be in one slot."""
        words = [len(keys), *keys, *args]
        sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()

        async def run() -> Any:
            try:
                return await self._execute("EVALSHA", sha, *words)
            except NoScriptError:
                return await self._execute("EVAL", lua, *words)

        return await self._call(run)

    async def aclose(self) -> None:
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait({self._mending})
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _call(self, do: Callable[[], Awaitable[T]]) -> T:
        """Waits for a place first: many callers at once are not a slow Redis."""
        self._refuse_if_down()
        async with self._places:
            self._refuse_if_down()
            try:
                return await self._within(do)
            except Exception as error:
                kind = _kind(error)
                self._faulted(kind)
                if kind in ("timeout", "connection", "loading"):
                    self._open()
                raise RedisUnavailable(kind) from error

    async def _within(self, do: Callable[[], Awaitable[T]]) -> T:
        """Raises TimeoutError. The time is given in parts: a slow event loop looks at Redis as often as a quick one."""
        task: asyncio.Future[T] = asyncio.ensure_future(do())
        try:
            for _ in range(_PARTS):
                await asyncio.wait({task}, timeout=self._timeout_s / _PARTS)
                if task.done():
                    return task.result()
            raise TimeoutError
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _pipelined(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, RedisConnectionError | RedisTimeoutError):
                raise answer
        return answers

    def _refuse_if_down(self) -> None:
        if self.down:
            raise RedisUnavailable("down")

    def _open(self) -> None:
        if self._mending is None:
            self._mending = asyncio.get_running_loop().create_task(self._mend(), name="redis-mend")

    async def _mend(self) -> None:
        while True:
            await self._clock.sleep(_PING_EVERY_S)
            try:
                await self._within(self._ping)
            except Exception:
                continue
            self._mending = None
            return

    async def _ping(self) -> None:
        if isinstance(self._client, RedisCluster):
            await self._execute("PING", target_nodes=RedisCluster.PRIMARIES)
        else:
            await self._execute("PING")


def _kind(error: Exception) -> str:
    """The fault in one word."""
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
    """RESP2 and no client info: a new connection costs no round trip more than it must."""
    options: dict[str, Any] = {
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": _CLOSE_S,  # the link's own timeout is shorter; this one is for closing
        "max_connections": 1024,  # `_AT_ONCE` bounds them
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
        raise ConfigurationError(f"the Redis URL cannot be used: {_HOW}") from error


def _by_sentinel(parts: SplitResult, options: dict[str, Any]) -> tuple[Redis, Sentinel]:
    """Raises ValueError. A user and password are those of the servers, not of the sentinels."""
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

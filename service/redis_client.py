"""The Redis client makes every call with a timeout and through one circuit breaker.

The breaker is written by hand: redis-py fails or retries call by call, and here the first fault lets all other calls
fail at once until Redis answers a ping.

Guarantees: a call returns or raises RedisUnavailable, within the timeout or, where those take longer, some twenty turns
of the event loop. The first fault after which Redis can answer nothing (timeout, connection, password, database) opens
the breaker; while it is open every call raises at once; it closes when a ping in the background is answered. An error
of one command fails that command alone. A refusal that an operator must end (rights, memory, read-only) leaves the
breaker closed, and Redis does not count as up until it has done what was refused. A kind of fault is logged once a
minute at most, with what to do. Nothing is sent twice: the caller decides what a fault means.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.clock import Clock
from service.errors import ConfigurationError
from service.redis_faults import Fault, fault_of

log = logging.getLogger(__name__)

T = TypeVar("T")
Argument = bytes | str | int

_CONCURRENT_CALLS = 16
_PING_EVERY_S = 1.0
_CHECK_EVERY_S = 1.0
_TELL_EVERY_S = 60.0
_TIMEOUT_PARTS = 10
_CLOSE_S = 5.0
_URL_FORMS = (
    "write redis://, rediss:// or unix://, redis+cluster://host:port or rediss+cluster://host:port, "
    "or redis+sentinel://host:port,host:port/master_name; write / # ? @ % of a password as %2F %23 %3F %40 %25"
)


_CHECKED_KEYS = (b"rubricd:{check}", b"rubricd:{check}:ids")
_CHECKED_VALUE = b"rubricd:{check}:value"
_CHECK = """
redis.call('TIME')
redis.call('HSET', KEYS[1], 'left', 1)
redis.call('ZADD', KEYS[2], 1, '1')
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 1000) end
return 1
"""


class RedisUnavailable(Exception):
    """Redis is unreachable or slow, the breaker is open, or Redis refused this command."""


class RedisClient:
    """`url` is redis://, rediss://, unix://, redis+cluster://host:port, rediss+cluster://host:port or
    redis+sentinel://host1:port,host2:port/master_name[/db]. `on_fault` is called with the kind of each fault, one of
    redis_faults.KINDS. Raises ConfigurationError for another URL. The first call connects."""

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
        self._checking: asyncio.Task[None] | None = None
        self._told: set[str] = set()
        self._quiet_s: dict[str, float] = {}

    async def start(self) -> None:
        """Checks in the background what Redis lets this user do. It is not up before."""
        self._check_until_permitted(0.0)

    @property
    def up(self) -> bool:
        """Returns whether Redis answers, and has refused nothing that it would refuse again."""
        return not self.breaker_open and self._checking is None

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
                self._heard(fault_of(reply))
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

    async def find_refusal(self) -> Fault | None:
        """Does once what this service does with Redis. The first fault; None where there is none."""
        count, hashed = len(_CHECKED_KEYS), hashlib.sha1(_CHECK.encode(), usedforsecurity=False).hexdigest()
        commands: list[Sequence[Argument]] = [
            ("GET", _CHECKED_VALUE),
            ("EVALSHA", hashed, count, *_CHECKED_KEYS),
            ("EVAL", _CHECK, count, *_CHECKED_KEYS),
            ("DEL", _CHECKED_VALUE),
            ("SET", _CHECKED_VALUE, b"1", "PX", 1000),
        ]
        if not isinstance(self._client, RedisCluster):
            commands.append(("MGET", _CHECKED_VALUE))
        try:
            replies = await self._within(lambda: self._pipelined(commands))
        except Exception as error:
            return fault_of(error)
        errors = [one for one in replies if isinstance(one, Exception) and not isinstance(one, NoScriptError)]
        return fault_of(errors[0]) if errors else None

    async def aclose(self) -> None:
        tasks = {task for task in (self._recovering, self._checking) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
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
                fault = fault_of(error)
                self._heard(fault)
                raise RedisUnavailable(fault.kind) from error

    def _heard(self, fault: Fault) -> None:
        self._on_fault(fault.kind)
        self._tell(fault)
        if fault.closed:
            self._open_breaker()
        elif fault.refused:
            self._check_until_permitted(_CHECK_EVERY_S)

    def _tell(self, fault: Fault) -> None:
        """Once until Redis is up again, and once a minute where it comes and goes."""
        now_s = self._clock.now()
        if not (fault.closed or fault.refused) or fault.kind in self._told or now_s < self._quiet_s.get(fault.kind, 0):
            return
        self._told.add(fault.kind)
        self._quiet_s[fault.kind] = now_s + _TELL_EVERY_S
        log.warning("Redis cannot be used as it should (%s): %s", fault, fault.remedy)

    def _tell_if_up(self) -> None:
        if self._told and self.up:
            self._told.clear()
            log.warning("Redis is used again")

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
            self._tell_if_up()
            return

    def _check_until_permitted(self, first_s: float) -> None:
        if self._checking is None:
            checking = self._check(first_s)
            self._checking = asyncio.get_running_loop().create_task(checking, name="redis-check")

    async def _check(self, first_s: float) -> None:
        await self._clock.sleep(first_s)
        while self.breaker_open or (fault := await self.find_refusal()) is not None:
            if not self.breaker_open and fault is not None:
                self._tell(fault)
            await self._clock.sleep(_CHECK_EVERY_S)
        self._checking = None
        self._tell_if_up()

    async def _ping(self) -> None:
        if isinstance(self._client, RedisCluster):
            await self._execute("PING", target_nodes=RedisCluster.PRIMARIES)
        else:
            await self._execute("PING")


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
        raise ConfigurationError(f"`redis_url` cannot be used: {_URL_FORMS}") from error


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

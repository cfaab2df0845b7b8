"""Write-behind writes verdicts to Redis, and releases their leases, soon after the callers that do not wait for it.

Guarantees: a verdict is written before its lease is released. What waits to be written is bounded, and dropped while
Redis is unavailable.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.cache.leases import Command, Leases
from service.redis_client import RedisClient, RedisUnavailable

MAX_KEYS = 512
"""Keys in one round trip, so that a large request is not a slow Redis for others."""

_MAX_PENDING = 50_000
_STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class _Pending:
    """A verdict to write, with its checksum, and a lease to release."""

    key: bytes
    value: bytes | None
    release: Command | None


class WriteBehind:
    """A value lives `ttl_s`. `faulted` is called with `unwritten` for one that is lost."""

    def __init__(self, link: RedisClient, leases: Leases, ttl_s: int, faulted: Callable[[str], None]) -> None:
        self._link = link
        self._leases = leases
        self._ttl_s = ttl_s
        self._faulted = faulted
        self._pending: list[_Pending] = []
        self._writing: asyncio.Task[None] | None = None

    def put(self, key: bytes, value: bytes) -> None:
        self._write_soon(_Pending(key, value, self._leases.release(key)))

    def overwrite(self, key: bytes, value: bytes) -> None:
        """Leaves the lease of the key, which another request may hold."""
        self._write_soon(_Pending(key, value, None))

    def release(self, key: bytes) -> None:
        if (release := self._leases.release(key)) is not None:
            self._write_soon(_Pending(key, None, release))

    async def stop(self) -> None:
        """Writes what is pending, within a second."""
        if self._writing is None:
            return
        await asyncio.wait({self._writing}, timeout=_STOP_S)
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)

    def _write_soon(self, pending: _Pending) -> None:
        """Writes it with everything else that comes before the writer's next turn."""
        if self._link.breaker_open or len(self._pending) >= _MAX_PENDING:
            self._drop([pending])
            return
        self._pending.append(pending)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="redis-write")

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:MAX_KEYS], self._pending[MAX_KEYS:]
            commands: list[Command] = []
            for one in batch:
                if one.value is not None:
                    commands.append(("SET", verdict_name(one.key), one.value, "EX", self._ttl_s))
                if one.release is not None:
                    commands.append(one.release)
            try:
                answers = await self._link.pipeline(commands)
            except RedisUnavailable:
                dropped, self._pending = batch + self._pending, []
                self._drop(dropped)
                return
            for command, answer in zip(commands, answers, strict=True):
                if isinstance(answer, Exception) and command[0] == "EVAL":
                    self._leases.reset()

    def _drop(self, dropped: Sequence[_Pending]) -> None:
        """A lost verdict is judged again; leases that were not released end with this token's heartbeat."""
        for one in dropped:
            if one.value is not None:
                self._faulted("unwritten")
        if any(one.release is not None for one in dropped):
            self._leases.reset()


def verdict_name(key: bytes) -> bytes:
    """The name of a verdict in Redis."""
    return b"rubricd:v:{%s}" % key.hex().encode()

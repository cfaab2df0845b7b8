"""The Redis cache shares verdicts among replicas, and their agreement that each is judged once.

Guarantees: no call raises, whatever Redis does: a fault is a counted miss, and the missing key is then the caller's to
judge. A value whose checksum does not fit its key is a miss.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from service.cache.leases import Command, Leases
from service.cache.shared import Lookup
from service.cache.write_behind import MAX_KEYS, WriteBehind, verdict_name
from service.clock import Clock
from service.redis_client import RedisClient, RedisUnavailable

V = TypeVar("V")

log = logging.getLogger(__name__)

_FIRST_POLL_S = 0.02
_LAST_POLL_S = 0.2

VERSION = b"\x01"
_DIGEST_BYTES = 16
_HEAD_BYTES = len(VERSION) + _DIGEST_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class _Watcher(Generic[V]):
    known: Callable[[bytes, V], None]
    mine: Callable[[Sequence[bytes]], None]


class RedisCache(Generic[V]):
    """`decode` raises ValueError. A value lives `ttl_s`; the death of a process costs those who wait for it at most
    `lease_s`. `faulted` is called with `corrupt` for a value that cannot be read, `unwritten` for one that is lost."""

    def __init__(
        self,
        link: RedisClient,
        clock: Clock,
        *,
        encode: Callable[[V], bytes],
        decode: Callable[[bytes], V],
        ttl_s: int,
        holder: str | None = None,
        lease_s: float = 5.0,
        faulted: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._link = link
        self._clock = clock
        self._encode = encode
        self._decode = decode
        self._faulted = faulted
        self._leases = Leases(link, clock, secrets.token_hex(8) if holder is None else holder, lease_s)
        self._writer = WriteBehind(link, self._leases, ttl_s, faulted)
        self._watched: dict[bytes, _Watcher[V]] = {}
        self._pause_s = _FIRST_POLL_S
        self._next_poll_s = 0.0
        self._nap: asyncio.Future[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None

    @property
    def watched(self) -> int:
        """Number of keys that a request waits for."""
        return len(self._watched)

    async def start(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._leases.run_heartbeat(), name="redis-heartbeat")

    async def stop(self) -> None:
        """Writes what is pending, within a second, and frees what is still held."""
        self._watched.clear()
        await self._writer.stop()
        tasks = [task for task in (self._beating, self._polling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leases.stop()

    async def look_up(self, keys: Sequence[bytes]) -> Lookup[V]:
        parts = [await self._look_up(some) for some in _chunks(keys)]
        return Lookup(
            known={key: value for part in parts for key, value in part.known.items()},
            mine=frozenset().union(*(part.mine for part in parts)),
            elsewhere=frozenset().union(*(part.elsewhere for part in parts)),
        )

    async def _look_up(self, keys: Sequence[bytes]) -> Lookup[V]:
        try:
            values = await self._link.get_many([verdict_name(key) for key in keys])
        except RedisUnavailable:
            return Lookup({}, frozenset(keys), frozenset())
        raw = dict(zip(keys, values, strict=True))
        known = self._read(raw)
        missing = [key for key in raw if key not in known]
        if not missing:
            return Lookup(known, frozenset(), frozenset())
        written, mine = await self._claim({key: self._leases.claim(key) for key in missing}, raw)
        known |= written
        return Lookup(known, frozenset(mine), frozenset(missing) - written.keys() - mine)

    async def _claim(
        self, claims: Mapping[bytes, Command], raw: Mapping[bytes, bytes | None]
    ) -> tuple[dict[bytes, V], set[bytes]]:
        """Returns what was written since `raw` was read, and what is ours to judge: everything where Redis is
        unavailable."""
        commands = [self._leases.renew()]
        for key, claim in claims.items():
            commands += (claim, ("GET", verdict_name(key)))
        try:
            _, *answers = await self._link.pipeline(commands)
        except RedisUnavailable:
            self._leases.reset()
            return {}, set(claims)
        except asyncio.CancelledError:
            self._leases.reset()
            raise
        claimed = dict(zip(claims, answers[::2], strict=True))
        values = dict(zip(claims, answers[1::2], strict=True))
        self._leases.record(key for key, answer in claimed.items() if answer in (True, 1))
        written = self._read({key: value for key, value in values.items() if value != raw[key]})
        for key in written:
            self.release(key)
        return written, {key for key, answer in claimed.items() if answer and key not in written}

    def _read(self, raw: Mapping[bytes, object]) -> dict[bytes, V]:
        """The values among them that can be read."""
        known = {}
        for key, value in raw.items():
            if isinstance(value, bytes):
                try:
                    known[key] = self._decode(verify_checksum(key, value))
                except ValueError:
                    self._faulted("corrupt")
        return known

    def watch(
        self, keys: Sequence[bytes], known: Callable[[bytes, V], None], mine: Callable[[Sequence[bytes]], None]
    ) -> None:
        watcher = _Watcher(known, mine)
        self._watched.update(dict.fromkeys(keys, watcher))
        self._pause_s = _FIRST_POLL_S
        soon_s = self._clock.now() + _FIRST_POLL_S
        if self._polling is None or self._polling.done():
            self._next_poll_s = soon_s
            self._polling = asyncio.get_running_loop().create_task(self._poll(), name="redis-poll")
        elif soon_s < self._next_poll_s:
            self._next_poll_s = soon_s
            if self._nap is not None:
                self._nap.cancel()  # `_sleep` goes on with the new time

    def unwatch(self, key: bytes) -> None:
        self._watched.pop(key, None)

    async def _poll(self) -> None:
        """One task for all watched keys; the pauses grow while nothing new comes."""
        while self._watched:
            await self._sleep()
            try:
                for keys in _chunks(list(self._watched)):
                    await self._look_again(keys)
            except RedisUnavailable:
                self._hand_over(list(self._watched))
            except Exception:
                log.exception("a watched verdict could not be delivered")
            self._pause_s = min(2 * self._pause_s, _LAST_POLL_S)
            self._next_poll_s = self._clock.now() + self._pause_s

    async def _sleep(self) -> None:
        """Until the next poll, which `watch` may bring forward."""
        while (left_s := self._next_poll_s - self._clock.now()) > 0:
            self._nap = asyncio.ensure_future(self._clock.sleep(left_s))
            try:
                await asyncio.wait({self._nap})
            finally:
                self._nap.cancel()

    async def _look_again(self, keys: Sequence[bytes]) -> None:
        """Raises RedisUnavailable."""
        raw = dict(zip(keys, await self._link.get_many([verdict_name(key) for key in keys]), strict=True))
        self._deliver(self._read(raw))
        free = await self._leases.find_free([key for key in keys if key in self._watched])
        if free:
            claims = {key: self._leases.take(key, holder) for key, holder in free.items()}
            written, mine = await self._claim(claims, raw)
            self._deliver(written)
            self._hand_over(mine)

    def _deliver(self, values: Mapping[bytes, V]) -> None:
        for key, value in values.items():
            if (watcher := self._watched.pop(key, None)) is not None:
                watcher.known(key, value)

    def _hand_over(self, keys: Iterable[bytes]) -> None:
        """One call for each watcher. A key that nothing waits for any more is released."""
        keys_of: dict[_Watcher[V], list[bytes]] = {}
        for key in keys:
            if (watcher := self._watched.pop(key, None)) is not None:
                keys_of.setdefault(watcher, []).append(key)
            else:
                self.release(key)
        for watcher, its in keys_of.items():
            watcher.mine(its)

    def put(self, key: bytes, value: V) -> None:
        self._writer.put(key, add_checksum(key, self._encode(value)))

    def overwrite(self, key: bytes, value: V) -> None:
        self._writer.overwrite(key, add_checksum(key, self._encode(value)))

    def release(self, key: bytes) -> None:
        self._writer.release(key)


def add_checksum(key: bytes, payload: bytes) -> bytes:
    """Schema version, digest, payload. `key` has 1 to 64 bytes. The digest guards against accidents, not against
    somebody who may write to Redis and knows the key."""
    return VERSION + _digest(key, payload) + payload


def verify_checksum(key: bytes, value: bytes) -> bytes:
    """The payload. Raises ValueError unless `add_checksum` made the value for this key, in this version."""
    payload = value[_HEAD_BYTES:]
    if value[:_HEAD_BYTES] != VERSION + _digest(key, payload):
        raise ValueError("the checksum does not fit the key")
    return payload


def _digest(key: bytes, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_DIGEST_BYTES, key=key).digest()


def _chunks(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[start : start + MAX_KEYS] for start in range(0, len(keys), MAX_KEYS)]

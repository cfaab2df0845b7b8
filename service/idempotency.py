"""The idempotency store keeps the answer of an `Idempotency-Key`, so that a repeated request gets the same bytes.

Guarantees: under one key of one team one request runs at a time; only a finished answer is kept; a key belongs to one
body; no answer is written over another. The key of a runner that dies is free after `_MARK_S`. Redis gets hashes of
keys and of bodies, and a value whose checksum does not fit counts as absent. While Redis is unavailable each process
keeps its own answers, and it still knows them when Redis is back.
"""

import asyncio
import contextlib
import secrets
import weakref
import zlib
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from service.clock import Clock
from service.errors import InvalidRequest, KeyReused, StillRunning
from service.redis_client import Argument, RedisClient, RedisUnavailable

_MARK_S = 10.0
_RENEW_EVERY_S = 3.0
_ENTRY_BYTES = 512
_CHECKSUM_BYTES = 16
_DIGEST_BYTES = 32
_MARK, _PLAIN, _PACKED = b"m", b"p", b"z"

_PUT = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
"""Stores the first argument, unless there is a value already that is not the third: then it returns that value."""
_RENEW = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1"
_DROP = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


@dataclass(frozen=True, slots=True)
class Stored:
    body: bytes


class Running(Protocol):
    """The right to answer under a key. It ends with one of these calls."""

    async def finish(self, body: bytes) -> None:
        """Keeps the answer for later requests. Later calls do nothing."""

    async def give_up(self) -> None:
        """Frees the key without an answer. Later calls do nothing."""


class IdempotencyStore(Protocol):
    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        """The stored answer, or the right to answer. `digest` is that of the request's body. Raises InvalidRequest for
        a malformed key, KeyReused for another digest under this key, StillRunning while its first request runs."""


class MemoryIdempotencyStore:
    """The answers of one process, for `ttl_s` seconds and within `max_bytes`. The least recently used of the team that
    has most are dropped first, so that one team's many large answers cost no other team its few."""

    def __init__(self, clock: Clock, ttl_s: float, max_bytes: int) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._answers: dict[bytes, _Answer] = {}
        self._bytes: Counter[str] = Counter()
        self._used: defaultdict[str, OrderedDict[bytes, None]] = defaultdict(OrderedDict)
        """Each team's names, the least recently used first."""
        self._running: weakref.WeakValueDictionary[bytes, _MemoryRunning] = weakref.WeakValueDictionary()

    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        name, hashed = _name(team, key), _hash(digest)
        return self.known(name, hashed) or self._run(team, name, hashed)

    def known(self, name: bytes, digest: bytes) -> Stored | None:
        """Raises KeyReused, StillRunning."""
        if (running := self._running.get(name)) is not None:
            _check_same(running.digest, digest)
            raise _still_running()
        answer = self._answers.get(name)
        if answer is None:
            return None
        if answer.until_s <= self._clock.now():
            self._forget(name)
            return None
        _check_same(answer.digest, digest)
        self._used[answer.team].move_to_end(name)
        return Stored(answer.body)

    def keep(self, team: str, name: bytes, digest: bytes, body: bytes) -> None:
        """The first answer under a name stays. One that is larger than `max_bytes` is not kept."""
        now_s, size = self._clock.now(), len(body) + _ENTRY_BYTES
        before = self._answers.get(name)
        if size > self._max_bytes or (before is not None and before.until_s > now_s):
            return
        self._forget(name)
        self._answers[name] = _Answer(team, digest, body, now_s + self._ttl_s)
        self._used[team][name] = None
        self._bytes[team] += size
        while self._bytes.total() > self._max_bytes:
            largest = max(self._bytes, key=self._bytes.__getitem__)
            self._forget(next(iter(self._used[largest])))

    def end(self, running: "_MemoryRunning", body: bytes | None) -> None:
        if self._running.get(running.name) is running:
            del self._running[running.name]
            if body is not None:
                self.keep(running.team, running.name, running.digest, body)

    def _run(self, team: str, name: bytes, digest: bytes) -> "_MemoryRunning":
        running = _MemoryRunning(self, team, name, digest)
        self._running[name] = running
        return running

    def _forget(self, name: bytes) -> None:
        if (answer := self._answers.pop(name, None)) is not None:
            del self._used[answer.team][name]
            self._bytes[answer.team] -= len(answer.body) + _ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class _Answer:
    team: str
    digest: bytes
    body: bytes
    until_s: float


class _MemoryRunning:
    def __init__(self, idempotency_store: MemoryIdempotencyStore, team: str, name: bytes, digest: bytes) -> None:
        self.team = team
        self.name = name
        self.digest = digest
        self._idempotency_store = idempotency_store

    async def finish(self, body: bytes) -> None:
        self._idempotency_store.end(self, body)

    async def give_up(self) -> None:
        self._idempotency_store.end(self, None)


class RedisIdempotencyStore:
    """The answers of all processes that share a Redis. While it is unavailable, `fallback` keeps this process's own."""

    def __init__(self, client: RedisClient, clock: Clock, ttl_s: float, fallback: MemoryIdempotencyStore) -> None:
        self._client = client
        self._clock = clock
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._fallback = fallback
        self._running: weakref.WeakSet[_RedisRunning] = weakref.WeakSet()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew(), name="idempotency-renew")

    async def stop(self) -> None:
        """The key of what still runs is free when its mark expires."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})

    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        name, hashed = _name(team, key), _hash(digest)
        if (stored := self._fallback.known(name, hashed)) is not None:
            return stored
        try:
            return await self._begin(team, name, hashed)
        except RedisUnavailable:
            self._check_not_running(name, hashed)
            return await self._fallback.begin(team, key, digest)

    def _check_not_running(self, name: bytes, digest: bytes) -> None:
        """A request whose mark is in Redis runs on without it. Raises KeyReused, StillRunning."""
        for running in self._running:
            if running.name == name:
                _check_same(running.digest, digest)
                raise _still_running()

    async def _begin(self, team: str, name: bytes, digest: bytes) -> "Stored | _RedisRunning":
        """Raises RedisUnavailable, KeyReused, StillRunning."""
        running = _RedisRunning(self, team, name, digest)
        seen = b""
        while (found := await self._put(running, running.mark, _mark_ms(), seen)) is not None:
            entry = _decoded(name, found)
            if entry is None:
                seen = found  # damaged: the next try may take its place
                continue
            _check_same(entry.digest, digest)
            if entry.body is None:
                raise _still_running()
            return Stored(entry.body)
        self._running.add(running)
        return running

    async def finish(self, running: "_RedisRunning", body: bytes) -> None:
        self._running.discard(running)
        try:
            await self._put(running, _encoded_answer(running.name, running.digest, body), self._ttl_ms, running.mark)
        except RedisUnavailable:
            self._fallback.keep(running.team, running.name, running.digest, body)

    async def give_up(self, running: "_RedisRunning") -> None:
        self._running.discard(running)
        with contextlib.suppress(RedisUnavailable):
            await self._client.script(_DROP, [_redis_key(running.name)], [running.mark])

    async def _put(self, running: "_RedisRunning", value: bytes, live_ms: int, instead_of: bytes) -> bytes | None:
        found = await self._client.script(_PUT, [_redis_key(running.name)], [value, live_ms, instead_of])
        return found if isinstance(found, bytes) else None

    async def _renew(self) -> None:
        """Renews the marks of requests that still run. What nobody holds any more is not renewed, ended or not."""
        while True:
            await self._clock.sleep(_RENEW_EVERY_S)
            with contextlib.suppress(RedisUnavailable):
                await self._client.pipeline([running.renewal() for running in self._running])


class _RedisRunning:
    def __init__(self, idempotency_store: RedisIdempotencyStore, team: str, name: bytes, digest: bytes) -> None:
        self.team = team
        self.name = name
        self.digest = digest
        self.mark = _with_checksum(name, _MARK + digest + secrets.token_bytes(16))
        self._idempotency_store = idempotency_store
        self._ended = False

    async def finish(self, body: bytes) -> None:
        if not self._ended:
            self._ended = True
            await self._idempotency_store.finish(self, body)

    async def give_up(self) -> None:
        if not self._ended:
            self._ended = True
            await self._idempotency_store.give_up(self)

    def renewal(self) -> tuple[Argument, ...]:
        return ("EVAL", _RENEW, 1, _redis_key(self.name), self.mark, _mark_ms())


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value in Redis. `body` is None while the request runs."""

    digest: bytes
    body: bytes | None


def _name(team: str, key: str) -> bytes:
    """32 bytes that differ from those of every other team and key. Raises InvalidRequest for a malformed key."""
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        remedy = "write 1 to 255 visible ASCII characters, such as a UUID"
        raise InvalidRequest("the header `Idempotency-Key` cannot be used", ((("Idempotency-Key",), remedy),))
    return blake2b(b"%d:%s%s" % (len(team.encode()), team.encode(), key.encode()), digest_size=32).digest()


def _hash(digest: bytes) -> bytes:
    return blake2b(digest, digest_size=_DIGEST_BYTES).digest()


def _check_same(before: bytes, now: bytes) -> None:
    if before != now:
        raise KeyReused("this `Idempotency-Key` came with another body before; use a new key for a new request")


def _still_running() -> StillRunning:
    return StillRunning("the request of this `Idempotency-Key` is being answered; try again later", retry_after_s=1)


def _redis_key(name: bytes) -> bytes:
    return b"rubricd:i:{%s}" % name.hex().encode()


def _mark_ms() -> int:
    return round(_MARK_S * 1000)


def _with_checksum(name: bytes, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_CHECKSUM_BYTES, key=name).digest() + payload


def _encoded_answer(name: bytes, digest: bytes, body: bytes) -> bytes:
    packed = zlib.compress(body, 1)
    kind, kept = (_PACKED, packed) if len(packed) < len(body) else (_PLAIN, body)
    return _with_checksum(name, kind + digest + kept)


def _decoded(name: bytes, value: bytes) -> _Entry | None:
    """None where the checksum of this name does not fit: the value is damaged, or belongs to another name."""
    payload = value[_CHECKSUM_BYTES:]
    if len(payload) <= _DIGEST_BYTES or _with_checksum(name, payload) != value:
        return None
    kind, digest, kept = payload[:1], payload[1 : 1 + _DIGEST_BYTES], payload[1 + _DIGEST_BYTES :]
    if kind == _MARK:
        return _Entry(digest, None)
    return _Entry(digest, zlib.decompress(kept) if kind == _PACKED else kept)

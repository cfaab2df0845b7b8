"""`Idempotency-Key`: what was answered once is answered again with the same bytes, not judged again.

Always true: under one key of one team one request runs at a time; only a finished answer is kept; a key means one body
and no other; nobody's answer is written over another's. A runner that dies frees its key after `_MARK_S`. In Redis keys
and bodies of requests are hashes, and a value that is not whole counts as absent. While Redis is away each process
keeps its own answers, and goes on knowing them when Redis is back.
"""

import asyncio
import contextlib
import secrets
import weakref
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from service.clock import Clock
from service.errors import InvalidRequest, KeyReused, StillRunning
from service.redis_client import RedisClient, RedisUnavailable, Word

_MARK_S = 10.0
_RENEW_EVERY_S = 3.0
_ENTRY_BYTES = 512
_SEAL_BYTES = 16
_ASKED_BYTES = 32
_MARK, _PLAIN, _PACKED = b"m", b"p", b"z"

_PUT = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
"""Answers what is there, unless that is nothing or the third argument: then the first takes its place."""
_RENEW = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1"
_DROP = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


@dataclass(frozen=True, slots=True)
class Stored:
    body: bytes


class Running(Protocol):
    """The right to answer, and the duty to end it by one of these."""

    async def finish(self, body: bytes) -> None: ...

    async def give_up(self) -> None: ...


class IdempotencyStore(Protocol):
    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        """`digest` is of the request's body. Raises InvalidRequest for a key that is none, KeyReused for another
        digest under this key, StillRunning while the first request is being answered."""


class MemoryIdempotencyStore:
    """Answers of one process, for `ttl_s` and within `max_bytes`; those that were not asked for longest go first."""

    def __init__(self, clock: Clock, ttl_s: float, max_bytes: int) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._running: weakref.WeakValueDictionary[bytes, _MemoryRunning] = weakref.WeakValueDictionary()

    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        name, asked = _name(team, key), _asked(digest)
        return self.known(name, asked) or self._run(name, asked)

    def known(self, name: bytes, asked: bytes) -> Stored | None:
        """Raises KeyReused, StillRunning."""
        if (running := self._running.get(name)) is not None:
            _check_same(running.asked, asked)
            raise _still_running()
        answer = self._answers.get(name)
        if answer is None:
            return None
        if answer.until_s <= self._clock.now():
            self._forget(name)
            return None
        _check_same(answer.asked, asked)
        self._answers.move_to_end(name)
        return Stored(answer.body)

    def keep(self, name: bytes, asked: bytes, body: bytes) -> None:
        """The first answer stays. One that is larger than all there may be is not kept."""
        now_s, size = self._clock.now(), len(body) + _ENTRY_BYTES
        before = self._answers.get(name)
        if size > self._max_bytes or (before is not None and before.until_s > now_s):
            return
        self._forget(name)
        self._answers[name] = _Answer(asked, body, now_s + self._ttl_s)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._answers)))

    def end(self, running: "_MemoryRunning", body: bytes | None) -> None:
        if self._running.get(running.name) is running:
            del self._running[running.name]
            if body is not None:
                self.keep(running.name, running.asked, body)

    def _run(self, name: bytes, asked: bytes) -> "_MemoryRunning":
        running = _MemoryRunning(self, name, asked)
        self._running[name] = running
        return running

    def _forget(self, name: bytes) -> None:
        if (answer := self._answers.pop(name, None)) is not None:
            self._bytes -= len(answer.body) + _ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class _Answer:
    asked: bytes
    body: bytes
    until_s: float


class _MemoryRunning:
    def __init__(self, idempotency_store: MemoryIdempotencyStore, name: bytes, asked: bytes) -> None:
        self.name = name
        self.asked = asked
        self._idempotency_store = idempotency_store

    async def finish(self, body: bytes) -> None:
        self._idempotency_store.end(self, body)

    async def give_up(self) -> None:
        self._idempotency_store.end(self, None)


class RedisIdempotencyStore:
    """Answers of all processes that share a Redis. While it is away, `fallback` keeps those of this process."""

    def __init__(self, link: RedisClient, clock: Clock, ttl_s: float, fallback: MemoryIdempotencyStore) -> None:
        self._link = link
        self._clock = clock
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._fallback = fallback
        self._running: weakref.WeakSet[_RedisRunning] = weakref.WeakSet()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew(), name="replay-renew")

    async def stop(self) -> None:
        """What runs still is free when its mark expires."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})

    async def begin(self, team: str, key: str, digest: bytes) -> Stored | Running:
        name, asked = _name(team, key), _asked(digest)
        if (stored := self._fallback.known(name, asked)) is not None:
            return stored
        try:
            return await self._begin(name, asked)
        except RedisUnavailable:
            self._check_not_running(name, asked)
            return await self._fallback.begin(team, key, digest)

    def _check_not_running(self, name: bytes, asked: bytes) -> None:
        """What was begun in Redis runs on without it. Raises KeyReused, StillRunning."""
        for running in self._running:
            if running.name == name:
                _check_same(running.asked, asked)
                raise _still_running()

    async def _begin(self, name: bytes, asked: bytes) -> "Stored | _RedisRunning":
        """Raises RedisUnavailable, KeyReused, StillRunning."""
        running = _RedisRunning(self, name, asked)
        seen = b""
        while (found := await self._put(running, running.mark, _mark_ms(), seen)) is not None:
            opened = _open(name, found)
            if opened is None:
                seen = found
                continue
            _check_same(opened.asked, asked)
            if opened.body is None:
                raise _still_running()
            return Stored(opened.body)
        self._running.add(running)
        return running

    async def finish(self, running: "_RedisRunning", body: bytes) -> None:
        self._running.discard(running)
        try:
            await self._put(running, _sealed_answer(running.name, running.asked, body), self._ttl_ms, running.mark)
        except RedisUnavailable:
            self._fallback.keep(running.name, running.asked, body)

    async def give_up(self, running: "_RedisRunning") -> None:
        self._running.discard(running)
        with contextlib.suppress(RedisUnavailable):
            await self._link.script(_DROP, [_redis_key(running.name)], [running.mark])

    async def _put(self, running: "_RedisRunning", value: bytes, live_ms: int, instead_of: bytes) -> bytes | None:
        found = await self._link.script(_PUT, [_redis_key(running.name)], [value, live_ms, instead_of])
        return found if isinstance(found, bytes) else None

    async def _renew(self) -> None:
        """What nobody holds any more is not renewed, ended or not."""
        while True:
            await self._clock.sleep(_RENEW_EVERY_S)
            with contextlib.suppress(RedisUnavailable):
                await self._link.pipeline([one.renewal() for one in self._running])


class _RedisRunning:
    def __init__(self, idempotency_store: RedisIdempotencyStore, name: bytes, asked: bytes) -> None:
        self.name = name
        self.asked = asked
        self.mark = _seal(name, _MARK + asked + secrets.token_bytes(16))
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

    def renewal(self) -> tuple[Word, ...]:
        return ("EVAL", _RENEW, 1, _redis_key(self.name), self.mark, _mark_ms())


@dataclass(frozen=True, slots=True)
class _Opened:
    """`body` is None while it is being answered."""

    asked: bytes
    body: bytes | None


def _name(team: str, key: str) -> bytes:
    """32 bytes that no other team and key have. Raises InvalidRequest."""
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        what = "write 1 to 255 visible ASCII characters, such as a UUID"
        raise InvalidRequest("the header `Idempotency-Key` cannot be used", ((("Idempotency-Key",), what),))
    return blake2b(b"%d:%s%s" % (len(team.encode()), team.encode(), key.encode()), digest_size=32).digest()


def _asked(digest: bytes) -> bytes:
    return blake2b(digest, digest_size=_ASKED_BYTES).digest()


def _check_same(before: bytes, now: bytes) -> None:
    if before != now:
        raise KeyReused("this `Idempotency-Key` came with another body before; use a new key for a new request")


def _still_running() -> StillRunning:
    return StillRunning("the request of this `Idempotency-Key` is being answered; ask again later", retry_after_s=1)


def _redis_key(name: bytes) -> bytes:
    return b"rubricd:i:{%s}" % name.hex().encode()


def _mark_ms() -> int:
    return round(_MARK_S * 1000)


def _seal(name: bytes, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_SEAL_BYTES, key=name).digest() + payload


def _sealed_answer(name: bytes, asked: bytes, body: bytes) -> bytes:
    packed = zlib.compress(body, 1)
    kind, kept = (_PACKED, packed) if len(packed) < len(body) else (_PLAIN, body)
    return _seal(name, kind + asked + kept)


def _open(name: bytes, value: bytes) -> _Opened | None:
    """None for anything that was not sealed under this name, whole."""
    payload = value[_SEAL_BYTES:]
    if len(payload) <= _ASKED_BYTES or _seal(name, payload) != value:
        return None
    kind, asked, kept = payload[:1], payload[1 : 1 + _ASKED_BYTES], payload[1 + _ASKED_BYTES :]
    if kind == _MARK:
        return _Opened(asked, None)
    return _Opened(asked, zlib.decompress(kept) if kind == _PACKED else kept)

"""What a team may use: requests a minute, judge tokens a minute, judge tokens at a time.

Always true: tokens are set aside before the work and settled once after it; what is set aside never exceeds the quota,
however many ask at once; no more is charged than was set aside. In Redis each of these is one script, and what a dead
process had set aside is free again after `_LIVES_S`. While Redis is away each process counts alone, so that a team may
get up to its quota from each of them. Processes that share a Redis share the wall's time, to about a second.
"""

import asyncio
import contextlib
import secrets
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.clock import Clock
from service.errors import InvalidRequest, QuotaExceeded
from service.redis_client import RedisClient, RedisUnavailable, Word
from service.tenancy.team import Team

_LIVES_S = 30.0
_RENEW_EVERY_S = 10.0
_FULL_AFTER_MS = 120_000
"""A bucket that nobody touched this long is full, and may be forgotten."""
_BUSY_WAIT_S = 1.0
"""When tokens at a time are used up, somebody's work must end first; nobody knows when."""

_NOW = """
local before = tonumber(redis.call('HGET', KEYS[1], 'at') or ARGV[1])
local now = math.max(tonumber(ARGV[1]), before)
"""
_LEAVE = """
local function leave(ids)
  local held, left = tonumber(redis.call('HGET', KEYS[1], 'held') or 0), 0
  for _, id in ipairs(ids) do
    if redis.call('ZREM', KEYS[2], id) == 1 then left = left + tonumber(string.match(id, '^%d+')) end
  end
  held = math.max(held - left, 0)
  if redis.call('EXISTS', KEYS[2]) == 0 then held = 0 end
  redis.call('HSET', KEYS[1], 'held', held)
  return held, left
end
"""
_KEEP = f"""
redis.call('PEXPIRE', KEYS[1], {_FULL_AFTER_MS})
redis.call('PEXPIRE', KEYS[2], {_FULL_AFTER_MS})
"""
_RESERVE = f"""{_NOW}{_LEAVE}
local tokens, per_minute, at_once, id = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local held = leave(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now))
if at_once and held + tokens > at_once then return '{_BUSY_WAIT_S}' end
if per_minute then
  local left = tonumber(redis.call('HGET', KEYS[1], 'left') or per_minute)
  left = math.min(per_minute, left + (now - before) * per_minute / 60)
  if left < tokens then return string.format('%.17g', (tokens - left) * 60 / per_minute) end
  redis.call('HSET', KEYS[1], 'left', string.format('%.17g', left - tokens))
end
redis.call('HSET', KEYS[1], 'at', string.format('%.17g', now))
if id ~= '' then
  redis.call('HSET', KEYS[1], 'held', held + tokens)
  redis.call('ZADD', KEYS[2], now + {_LIVES_S}, id)
end
{_KEEP}
return '0'
"""
"""Answers seconds to wait. A reservation's id begins with its tokens."""
_SETTLE = f"""{_LEAVE}
local _, reserved = leave({{ARGV[1]}})
local left, per_minute = tonumber(redis.call('HGET', KEYS[1], 'left')), tonumber(ARGV[3])
if left and per_minute then
  left = math.min(per_minute, left + math.max(0, reserved - tonumber(ARGV[2])))
  redis.call('HSET', KEYS[1], 'left', string.format('%.17g', left))
end
{_KEEP}
return 1
"""
_RENEW = f"""{_NOW}
for n = 2, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + {_LIVES_S}, ARGV[n]) end
{_KEEP}
return 1
"""


class Reservation(Protocol):
    def settle(self, used_tokens: int) -> None:
        """Frees what was set aside, and gives back to the minute what was not used. Later calls do nothing."""


class Ledger(Protocol):
    async def admit(self, team: Team) -> None:
        """Counts one request. Raises QuotaExceeded."""

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        """Raises QuotaExceeded; InvalidRequest for more tokens than the team may ever have."""


@dataclass(slots=True)
class _Bucket:
    """Fills up continuously, `per_minute` in a minute, never above it."""

    left: float
    at_s: float

    def wait_s(self, amount: int, per_minute: int, now_s: float) -> float:
        """Seconds until `amount` is there; 0 where it is."""
        now_s = max(now_s, self.at_s)
        self.left = min(per_minute, self.left + (now_s - self.at_s) * per_minute / 60)
        self.at_s = now_s
        return max(0.0, (amount - self.left) * 60 / per_minute)


class MemoryLedger:
    """The quotas of one process. What it set aside ends with the process, or with whoever held it: nothing expires."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: dict[str, _Bucket] = {}
        self._tokens: dict[str, _Bucket] = {}
        self._held: Counter[str] = Counter()

    async def admit(self, team: Team) -> None:
        if team.requests_per_minute is not None:
            self._take(self._requests, team, 1, team.requests_per_minute, "requests")

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        _check_possible(team, tokens)
        if team.concurrent_tokens is not None and self._held[team.name] + tokens > team.concurrent_tokens:
            raise _exceeded(team, "judge tokens", _BUSY_WAIT_S)
        if team.tokens_per_minute is not None:
            self._take(self._tokens, team, tokens, team.tokens_per_minute, "judge tokens")
        self._held[team.name] += tokens
        return _MemoryReservation(self, team, tokens)

    def settle(self, team: Team, reserved_tokens: int, used_tokens: int) -> None:
        """Called by the reservation, once."""
        self._held[team.name] -= reserved_tokens
        if team.tokens_per_minute is not None:
            bucket = self._tokens[team.name]
            bucket.left = min(team.tokens_per_minute, bucket.left + max(0, reserved_tokens - used_tokens))

    def _take(self, buckets: dict[str, _Bucket], team: Team, amount: int, per_minute: int, what: str) -> None:
        now_s = self._clock.wall()
        bucket = buckets.setdefault(team.name, _Bucket(per_minute, now_s))
        if (wait_s := bucket.wait_s(amount, per_minute, now_s)) > 0:
            raise _exceeded(team, what, wait_s)
        bucket.left -= amount


class _MemoryReservation:
    """One that is dropped unsettled is settled as used up."""

    def __init__(self, ledger: MemoryLedger, team: Team, tokens: int) -> None:
        self._ledger = ledger
        self._team = team
        self._tokens = tokens
        self._dropped = weakref.finalize(self, ledger.settle, team, tokens, tokens)
        self._dropped.atexit = False

    def settle(self, used_tokens: int) -> None:
        if self._dropped.detach() is not None:
            self._ledger.settle(self._team, self._tokens, used_tokens)


class RedisLedger:
    """The quotas of all processes that share a Redis. While it is away, `fallback` decides for this process alone."""

    def __init__(self, link: RedisClient, clock: Clock, fallback: MemoryLedger) -> None:
        self._link = link
        self._clock = clock
        self._fallback = fallback
        self._held: weakref.WeakSet[_RedisReservation] = weakref.WeakSet()
        self._settling: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew(), name="quota-renew")

    async def stop(self) -> None:
        """What was settled is told to Redis; what was not expires there."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
        await asyncio.gather(*self._settling)

    async def admit(self, team: Team) -> None:
        if team.requests_per_minute is None:
            return
        words: list[Word] = [self._wall(), 1, team.requests_per_minute, "", ""]
        try:
            wait_s = float(await self._link.script(_RESERVE, _keys(team.name, b"r"), words))
        except RedisUnavailable:
            return await self._fallback.admit(team)
        if wait_s > 0:
            raise _exceeded(team, "requests", wait_s)

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        if team.tokens_per_minute is None and team.concurrent_tokens is None:
            return await self._fallback.reserve(team, tokens)
        _check_possible(team, tokens)
        reservation = _RedisReservation(self, team, tokens)
        words: list[Word] = [self._wall(), tokens, team.tokens_per_minute or "", team.concurrent_tokens or ""]
        try:
            wait_s = float(await self._link.script(_RESERVE, _keys(team.name), [*words, reservation.id]))
        except RedisUnavailable:
            return await self._fallback.reserve(team, tokens)
        except asyncio.CancelledError:
            reservation.settle(0)  # Redis may have set it aside, and nobody will use it
            raise
        if wait_s > 0:
            raise _exceeded(team, "judge tokens", wait_s)
        self._held.add(reservation)
        return reservation

    def settle(self, reservation: "_RedisReservation", used_tokens: int) -> None:
        """Called by the reservation, once."""
        self._held.discard(reservation)
        task = asyncio.get_running_loop().create_task(self._tell_settled(reservation, used_tokens))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _tell_settled(self, reservation: "_RedisReservation", used_tokens: int) -> None:
        """Where Redis does not hear of it, the reservation expires."""
        team = reservation.team
        with contextlib.suppress(RedisUnavailable):
            words: list[Word] = [reservation.id, used_tokens, team.tokens_per_minute or ""]
            await self._link.script(_SETTLE, _keys(team.name), words)

    async def _renew(self) -> None:
        """What nobody holds any more is not renewed, settled or not."""
        while True:
            await self._clock.sleep(_RENEW_EVERY_S)
            ids: dict[str, list[bytes]] = {}
            for reservation in self._held:
                ids.setdefault(reservation.team.name, []).append(reservation.id)
            with contextlib.suppress(RedisUnavailable):
                await self._link.pipeline([self._renewal(name, held) for name, held in ids.items()])

    def _renewal(self, name: str, ids: Sequence[bytes]) -> Sequence[Word]:
        return ("EVAL", _RENEW, 2, *_keys(name), self._wall(), *ids)

    def _wall(self) -> str:
        return repr(self._clock.wall())


class _RedisReservation:
    def __init__(self, ledger: RedisLedger, team: Team, tokens: int) -> None:
        self.team = team
        self.id = b"%d:%s" % (tokens, secrets.token_hex(8).encode())
        self._ledger = ledger
        self._settled = False

    def settle(self, used_tokens: int) -> None:
        if not self._settled:
            self._settled = True
            self._ledger.settle(self, used_tokens)


def _keys(name: str, kind: bytes = b"t") -> list[bytes]:
    """The bucket and the reservations, in one slot of a cluster. A name is plain: it is from the configuration."""
    key = b"rubricd:q:{%s}:%s" % (name.encode(), kind)
    return [key, key + b":ids"]


def _check_possible(team: Team, tokens: int) -> None:
    """Raises InvalidRequest for what would be refused for ever."""
    limits = [limit for limit in (team.tokens_per_minute, team.concurrent_tokens) if limit is not None]
    if limits and tokens > min(limits):
        what = f"this needs {tokens} judge tokens, and team {team.name} may have {min(limits)}; send fewer items"
        raise InvalidRequest("the request is larger than the team's quota", ((("items",), what),))


def _exceeded(team: Team, what: str, wait_s: float) -> QuotaExceeded:
    return QuotaExceeded(f"team {team.name} has used its quota of {what}; ask again later", wait_s)

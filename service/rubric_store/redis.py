"""Keeps stored rubrics in Redis, for all processes that share it: two hashes a team, of contents and of facts.

Guarantees: a content that does not fit its version counts as absent. While Redis is unavailable nothing is stored and
nothing is found, and the caller is told so: a rubric that cannot be read is never another one, and none at all.
"""

import hashlib
from typing import Any

from service.clock import Clock
from service.errors import Unavailable
from service.redis_client import Argument, RedisClient, RedisUnavailable
from service.rubric_store.store import Entry, Room, newest_first, same_version, version_of

_PUT = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
local fact = redis.call('HGET', KEYS[2], ARGV[1])
if held and fact and held == ARGV[2] then return {'held', fact} end
if held and held ~= ARGV[2] and held ~= ARGV[7] then return {'other', held} end
if not fact then
  local versions, bytes = 0, tonumber(ARGV[3])
  for _, one in ipairs(redis.call('HVALS', KEYS[2])) do
    versions, bytes = versions + 1, bytes + tonumber(string.match(one, '^%d+'))
  end
  if versions >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then return {'full', ''} end
  fact = ARGV[3] .. ' ' .. ARGV[4]
  redis.call('HSET', KEYS[2], ARGV[1], fact)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'new', fact}
"""
"""Stores a content with its size and time, unless it is there, has no room, or another content stands in its place that
is not the last argument."""


class RedisRubricStore:
    def __init__(self, client: RedisClient, clock: Clock, room: Room) -> None:
        self._client = client
        self._clock = clock
        self._room = room

    async def put(self, team: str, name: str, content: bytes) -> tuple[Entry, bool]:
        version, damaged = version_of(content), b""
        field, size, now = f"{name}@{version}", len(content), f"{self._clock.wall():.3f}"
        while True:
            args: list[Argument] = [field, content, size, now, self._room.versions, self._room.bytes, damaged]
            outcome, said = await self._script(_keys(team), args)
            if outcome == b"full":
                raise self._room.full()
            if outcome != b"other":
                return _entry(field, said), outcome == b"new"
            if version_of(said) == version:
                raise same_version()
            damaged = said

    async def get(self, team: str, name: str, version: str) -> bytes | None:
        contents, _ = _keys(team)
        content = await self._one("HGET", contents, f"{name}@{version}")
        return content if isinstance(content, bytes) and version_of(content) == version else None

    async def entries(self, team: str) -> list[Entry]:
        _, facts = _keys(team)
        found = await self._one("HGETALL", facts)
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return newest_first(_entry(field.decode(), fact) for field, fact in pairs)

    async def remove(self, team: str, name: str, version: str) -> bool:
        contents, facts = _keys(team)
        field = f"{name}@{version}"
        found = await self._pipeline(("HDEL", contents, field), ("HDEL", facts, field))
        return any(one == 1 for one in found)

    async def _one(self, *command: Argument) -> Any:
        (reply,) = await self._pipeline(command)
        return reply

    async def _pipeline(self, *commands: tuple[Argument, ...]) -> list[Any]:
        try:
            replies = await self._client.pipeline(commands)
        except RedisUnavailable as error:
            raise _unavailable() from error
        if fault := next((one for one in replies if isinstance(one, Exception)), None):
            raise _unavailable() from fault
        return replies

    async def _script(self, keys: tuple[bytes, bytes], args: list[Argument]) -> tuple[bytes, bytes]:
        try:
            outcome, said = await self._client.script(_PUT, keys, args)
        except RedisUnavailable as error:
            raise _unavailable() from error
        return outcome, said


def _unavailable() -> Unavailable:
    return Unavailable("the store of rubrics (Redis) does not answer, so this stored rubric cannot be read or written")


def _keys(team: str) -> tuple[bytes, bytes]:
    """Contents and facts, in one slot of a cluster."""
    slot = b"{%s}" % hashlib.blake2b(team.encode(), digest_size=16).hexdigest().encode()
    return b"rubricd:r:%s:contents" % slot, b"rubricd:r:%s:facts" % slot


def _entry(field: str, fact: bytes) -> Entry:
    name, _, version = field.rpartition("@")
    size, _, stored_at = fact.decode().partition(" ")
    return Entry(name, version, int(size), float(stored_at))

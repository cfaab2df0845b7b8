"""Leases say which process judges which key, among processes that share a Redis.

They are written by hand: lock libraries renew each lock, and a request has hundreds of keys; here one heartbeat keeps
all leases of a process alive.

Guarantees: a lease names its holder, and counts while that holder's heartbeat exists: one heartbeat for a process, not
one for a lease. A lease is released by its holder alone; a dead holder's is taken over by compare-and-set. A holder
that has lost track of its leases takes a new token, and the old token's leases end with its heartbeat.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence

from service.clock import Clock
from service.redis_client import Argument, RedisClient, RedisUnavailable

Command = Sequence[Argument]

_LEASE_MS = 15 * 60 * 1000
_TAKE = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RELEASE = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class Leases:
    """A heartbeat lives `lease_s` and is renewed thrice in that time, while anything is held."""

    def __init__(self, link: RedisClient, clock: Clock, holder: str, lease_s: float) -> None:
        self._link = link
        self._clock = clock
        self._holder = holder
        self._lease_s = lease_s
        self._token = self._new_token()
        self._held: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    def renew(self) -> Command:
        """The heartbeat. It goes before every claim: a lease without a heartbeat may be taken over."""
        return ("SET", _heartbeat(self._token), b"1", "PX", max(1, round(self._lease_s * 1000)))

    def claim(self, key: bytes) -> Command:
        """Redis answers True where no process has it."""
        return ("SET", _lease(key), self._token, "NX", "PX", _LEASE_MS)

    def take(self, key: bytes, seen: bytes | None) -> Command:
        """Redis answers 1 where it is still `seen`'s, whose heartbeat has stopped, or no process has it."""
        return ("EVAL", _TAKE, 1, _lease(key), seen or b"", self._token, _LEASE_MS)

    def record(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._held[key] = self._token

    def release(self, key: bytes) -> Command | None:
        """None where it is not held."""
        token = self._held.pop(key, None)
        return None if token is None else ("EVAL", _RELEASE, 1, _lease(key), token)

    def reset(self) -> None:
        """A claim or a release was lost: Redis may hold leases of this token that nothing would release."""
        self._token = self._new_token()
        self._held.clear()

    async def find_free(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """The keys that no live process holds, each with the holder seen. Raises RedisUnavailable."""
        holders = await self._link.get_many([_lease(key) for key in keys])
        names = list({holder for holder in holders if holder is not None})
        beats = await self._link.get_many([_heartbeat(name) for name in names])
        alive = {name for name, beat in zip(names, beats, strict=True) if beat is not None}
        return {key: holder for key, holder in zip(keys, holders, strict=True) if holder not in alive}

    async def run_heartbeat(self) -> None:
        """Runs as long as the process. After a fault of Redis others may take over."""
        while True:
            await self._clock.sleep(self._lease_s / 3)
            if self._held:
                await self._send(self.renew())

    async def stop(self) -> None:
        """Leases that are still held are free at once."""
        self._held.clear()
        await self._send(("DEL", _heartbeat(self._token)))

    async def _send(self, command: Command) -> None:
        try:
            await self._link.pipeline([command])
        except RedisUnavailable:
            return

    def _new_token(self) -> bytes:
        return f"{self._holder}.{secrets.token_hex(4)}".encode()


def _lease(key: bytes) -> bytes:
    """In the slot of its value."""
    return b"rubricd:l:{%s}" % key.hex().encode()


def _heartbeat(token: bytes) -> bytes:
    return b"rubricd:holder:" + token

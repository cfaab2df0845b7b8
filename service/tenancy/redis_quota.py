"""Quotas in Redis hold for all processes that share it.

Guarantees: each change of a team's quota is one script, so that it is not exceeded however many processes reserve at
once; what a dead process had reserved is free again after `_RESERVATION_S`. While Redis is unavailable each process
counts alone, so that a team may use up to its quota in each of them; the log says when that begins and when it ends.
The time is Redis' own: the processes' clocks do not matter, and a clock of Redis that is set back delays nobody.
"""

import asyncio
import contextlib
import logging
import secrets
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.clock import Clock
from service.redis_client import Argument, RedisClient, RedisUnavailable
from service.tenancy.quota import BUSY_WAIT_S, RULE_SECONDS, MemoryLedger, Reservation, check_possible, exceeded
from service.tenancy.team import Team

log = logging.getLogger(__name__)

_RESERVATION_S = 30.0
_RENEW_EVERY_S = 10.0
_KEEP_MS = 120_000
"""A bucket that was not used for this long is full, and may be forgotten."""


def _script(name: str) -> str:
    folder = Path(__file__).parent
    return "\n".join((folder / f"quota_{part}.lua").read_text(encoding="utf-8") for part in ("common", name))


_RESERVE, _SETTLE, _RENEW, _OWE = _script("reserve"), _script("settle"), _script("renew"), _script("owe")


class RedisLedger:
    """While Redis is unavailable, `fallback` decides for this process alone."""

    def __init__(self, client: RedisClient, clock: Clock, fallback: MemoryLedger) -> None:
        self._client = client
        self._clock = clock
        self._fallback = fallback
        self._held: weakref.WeakSet[_RedisReservation] = weakref.WeakSet()
        self._settling: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._owed: dict[Team, float] = {}
        self._rule_wait_s: dict[str, float] = {}
        self._shared = True

    @property
    def shared(self) -> bool:
        """Returns whether the quotas held over all processes when one was asked for last."""
        return self._shared

    async def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew(), name="quota-renew")

    async def stop(self) -> None:
        """Waits until Redis has what was settled. What was not settled expires there."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
        await asyncio.gather(*self._settling)

    async def admit(self, team: Team, requests: int = 1) -> None:
        if team.requests_per_minute is None:
            return
        try:
            wait_s = await self._take(_keys(team.name, b"r"), requests, team.requests_per_minute, None, b"")
        except RedisUnavailable:
            return await self._fallback.admit(team, requests)
        if wait_s > 0:
            raise exceeded(team, "requests", wait_s)

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        if team.tokens_per_minute is None and team.concurrent_tokens is None:
            return await self._fallback.reserve(team, tokens)
        check_possible(team, tokens)
        reservation = _RedisReservation(self, team, tokens)
        try:
            wait_s = await self._take(
                _keys(team.name), tokens, team.tokens_per_minute, team.concurrent_tokens, reservation.id
            )
        except RedisUnavailable:
            return await self._fallback.reserve(team, tokens)
        except asyncio.CancelledError:
            reservation.settle(0)  # the script may have run, and nobody will use what it reserved
            raise
        if wait_s > 0:
            raise exceeded(team, "judge tokens", wait_s)
        self._held.add(reservation)
        return reservation

    def settle(self, reservation: "_RedisReservation", used_tokens: int) -> None:
        """The reservation calls this once. It does not wait for Redis."""
        self._held.discard(reservation)
        task = asyncio.get_running_loop().create_task(self._settle(reservation, used_tokens))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def admit_rules(self, team: Team) -> None:
        if team.rule_seconds_per_minute is None:
            return
        try:
            wait_s = await self._owe(team, 0.0)
        except RedisUnavailable:
            return await self._fallback.admit_rules(team)
        if wait_s > 0:
            raise exceeded(team, RULE_SECONDS, wait_s)

    def charge_rules(self, team: Team, seconds: float) -> bool:
        """It does not wait for Redis: what it returns is what Redis said last."""
        if team.rule_seconds_per_minute is None:
            return True
        waits = team in self._owed
        self._owed[team] = self._owed.get(team, 0.0) + seconds
        if not waits:  # one call at a time for a team: what checks take meanwhile is charged together
            task = asyncio.get_running_loop().create_task(self._charge(team))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
        return self._rule_wait_s.get(team.name, 0.0) == 0

    async def _charge(self, team: Team) -> None:
        """Charges what the team owes. While Redis is unavailable this process counts alone."""
        while (seconds := self._owed[team]) > 0:
            self._owed[team] = 0.0
            try:
                await self._owe(team, seconds)
            except RedisUnavailable:
                self._rule_wait_s[team.name] = self._fallback.rule_wait_s(team, seconds)
        del self._owed[team]

    async def _owe(self, team: Team, seconds: float) -> float:
        """Seconds until the team owes nothing. Raises RedisUnavailable."""
        arguments: list[Argument] = [_KEEP_MS, repr(seconds), team.rule_seconds_per_minute or ""]
        wait_s = float(await self._ask(_OWE, _keys(team.name, b"s"), arguments))
        self._rule_wait_s[team.name] = wait_s
        return wait_s

    async def _take(
        self, keys: Sequence[bytes], tokens: int, per_minute: int | None, at_a_time: int | None, id: bytes
    ) -> float:
        """Seconds to wait. 0 when the tokens are taken. Raises RedisUnavailable."""
        limits: list[Argument] = [tokens, per_minute or "", at_a_time or ""]
        arguments = [_KEEP_MS, *limits, id, repr(_RESERVATION_S), repr(BUSY_WAIT_S)]
        return float(await self._ask(_RESERVE, keys, arguments))

    async def _ask(self, script: str, keys: Sequence[bytes], arguments: Sequence[Argument]) -> Any:
        """What a script says of a quota. Raises RedisUnavailable."""
        try:
            answer = await self._client.script(script, keys, arguments)
        except RedisUnavailable as error:
            self._note(shared=False, why=f" (Redis: {error})")
            raise
        self._note(shared=True)
        return answer

    def _note(self, *, shared: bool, why: str = "") -> None:
        """Tells the operator when it changes for whom the quotas hold."""
        if shared != self._shared:
            self._shared = shared
            scope = "over all replicas again" if shared else f"for this replica alone{why}"
            log.warning("quotas hold %s", scope)

    async def _settle(self, reservation: "_RedisReservation", used_tokens: int) -> None:
        """Sends the settlement. If it does not reach Redis, the reservation expires there."""
        team = reservation.team
        arguments: list[Argument] = [reservation.id, _KEEP_MS, used_tokens, team.tokens_per_minute or ""]
        with contextlib.suppress(RedisUnavailable):
            await self._client.script(_SETTLE, _keys(team.name), arguments)

    async def _renew(self) -> None:
        """Renews the reservations that are still held. One that was dropped expires, settled or not."""
        while True:
            await self._clock.sleep(_RENEW_EVERY_S)
            ids: dict[str, list[bytes]] = {}
            for reservation in self._held:
                ids.setdefault(reservation.team.name, []).append(reservation.id)
            with contextlib.suppress(RedisUnavailable):
                await self._client.pipeline([self._renewal(name, held) for name, held in ids.items()])

    def _renewal(self, name: str, ids: Sequence[bytes]) -> Sequence[Argument]:
        return ("EVAL", _RENEW, 2, *_keys(name), _KEEP_MS, repr(_RESERVATION_S), *ids)


class _RedisReservation:
    """The id begins with the tokens: a script that releases it knows how many they were."""

    def __init__(self, ledger: RedisLedger, team: Team, tokens: int) -> None:
        self.team = team
        self.id = b"%d:%s" % (tokens, secrets.token_hex(8).encode())
        self._ledger = ledger
        self._settled = False

    def settle(self, used_tokens: int) -> None:
        if not self._settled:
            self._settled = True
            self._ledger.settle(self, used_tokens)


def _keys(name: str, quota: bytes = b"t") -> list[bytes]:
    """The bucket's key and the reservations', in one slot of a cluster. A team's name needs no escaping: the teams file
    allows letters, digits and dashes."""
    key = b"rubricd:q:{%s}:%s" % (name.encode(), quota)
    return [key, key + b":ids"]

"""Who is asking: from an `Authorization` header to a team.

Always true: a key is compared, by its hash and in constant time, with every key there is; no key is ever logged or
sent back; a teams file that breaks while serving changes nothing, and a key taken out of it is refused within five
seconds. A large file is parsed beside the event loop: the largest takes seconds.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.clock import Clock
from service.errors import ConfigurationError, Unauthorized
from service.tenancy import teams_file
from service.tenancy.team import DEFAULT_TEAM, Team
from service.tenancy.teams_file import TeamEntry

log = logging.getLogger("rubricd.admission")

_LOOK_EVERY_S = 1.0
_LARGE_BYTES = 4_000
"""More YAML than this keeps the loop for longer than 20 ms."""
_BEARER = re.compile(r"bearer +(rbd_[A-Za-z0-9_-]{43})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TeamKeys:
    listed: tuple[TeamEntry, ...]

    def team_of(self, authorization: str | None) -> Team:
        """Raises Unauthorized."""
        sent = _BEARER.fullmatch(authorization or "")
        if sent is None:
            raise Unauthorized("send your team's key in the header `Authorization: Bearer rbd_...`")
        asked = hashlib.sha256(sent[1].encode()).digest()
        found: Team | None = None
        for one in self.listed:
            for known in one.hashes:
                if hmac.compare_digest(known, asked):
                    found = one.team
        if found is None:
            raise Unauthorized("this key is not known, or was revoked; ask for a new one of your team")
        return found


class TeamsFileAuthentication:
    """The roster of a file, as it is now. `reloaded` hears of each new content whether it could be used; `file_ok`
    says it of the last one."""

    def __init__(self, file: Path, clock: Clock, reloaded: Callable[[bool], None], raw: bytes) -> None:
        self._file = file
        self._clock = clock
        self._reloaded = reloaded
        self._seen: bytes | None = raw
        self._roster = TeamKeys(teams_file.parse(raw, file))
        self.file_ok: bool | None = True

    @classmethod
    def open(cls, path: Path, clock: Clock, reloaded: Callable[[bool], None] = lambda ok: None) -> Self:
        """Raises ConfigurationError."""
        return cls(path, clock, reloaded, teams_file.read(path))

    @property
    def teams(self) -> tuple[Team, ...]:
        return tuple(one.team for one in self._roster.listed)

    def team_of(self, authorization: str | None) -> Team:
        """Raises Unauthorized."""
        return self._roster.team_of(authorization)

    async def watch(self) -> None:
        """For as long as the service lives."""
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        raw: bytes | None = None
        try:
            raw = teams_file.read(self._file)
            if raw == self._seen:
                return
            self._roster = TeamKeys(await self._parse(raw))
        except ConfigurationError as error:
            if raw is None and self._seen is None:
                return
            log.error("%s; the teams stay as they were", error)
            self._reloaded(False)
            self.file_ok = False
        else:
            log.info("the teams file has changed: %d teams", len(self.teams))
            self._reloaded(True)
            self.file_ok = True
        self._seen = raw

    async def _parse(self, raw: bytes) -> tuple[TeamEntry, ...]:
        if len(raw) > _LARGE_BYTES:
            return await asyncio.to_thread(teams_file.parse, raw, self._file)
        return teams_file.parse(raw, self._file)


class NoAuthentication:
    """The door without a teams file: no key is asked for."""

    file_ok: bool | None = None

    @property
    def teams(self) -> tuple[Team, ...]:
        return (DEFAULT_TEAM,)

    def team_of(self, authorization: str | None) -> Team:
        return DEFAULT_TEAM

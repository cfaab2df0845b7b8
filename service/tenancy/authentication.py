"""Authentication reads an `Authorization` header and returns the team that the key belongs to.

Guarantees: a key is compared, by its hash and in constant time, with every key there is; no key is ever logged or
sent back; a teams file that breaks while the service runs changes nothing; a key that is taken out of the file is
refused within five seconds. A large file is parsed in a thread, because the largest takes seconds.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from service.clock import Clock
from service.errors import ConfigurationError, Unauthorized
from service.tenancy import teams_file
from service.tenancy.team import DEFAULT_TEAM, Team
from service.tenancy.teams_file import TeamEntry

log = logging.getLogger("rubricd.admission")

_POLL_EVERY_S = 1.0
_LARGE_BYTES = 4_000
"""More YAML than this keeps the event loop busy for longer than 20 ms."""
_BEARER = re.compile(r"bearer +(rbd_[A-Za-z0-9_-]{43})", re.IGNORECASE)


class Authentication(Protocol):
    """The routes ask this for the team of a request, the metrics for all teams."""

    @property
    def teams(self) -> tuple[Team, ...]: ...

    @property
    def file_ok(self) -> bool | None:
        """Returns whether the last content of the teams file could be used. None where there is no file."""

    def team_of(self, authorization: str | None) -> Team:
        """The team of this header's key. Raises Unauthorized."""


@dataclass(frozen=True, slots=True)
class TeamKeys:
    """The teams of one teams file, with the hashes of their keys."""

    entries: tuple[TeamEntry, ...]

    def team_of(self, authorization: str | None) -> Team:
        """The team of this header's key. Raises Unauthorized."""
        sent = _BEARER.fullmatch(authorization or "")
        if sent is None:
            raise Unauthorized("send your team's key in the header `Authorization: Bearer rbd_...`")
        digest = hashlib.sha256(sent[1].encode()).digest()
        # All keys are compared, also after a hit: the time does not depend on which one it is.
        found: Team | None = None
        for entry in self.entries:
            for known in entry.hashes:
                if hmac.compare_digest(known, digest):
                    found = entry.team
        if found is None:
            raise Unauthorized("this key is not known, or was revoked; ask for a new key of your team")
        return found


class TeamsFileAuthentication:
    """The keys of a teams file, as it is now. `on_reload` is called after each change of the file with whether its new
    content could be used."""

    def __init__(self, file: Path, clock: Clock, on_reload: Callable[[bool], None], raw: bytes) -> None:
        self._file = file
        self._clock = clock
        self._on_reload = on_reload
        self._raw: bytes | None = raw
        self._keys = TeamKeys(teams_file.parse(raw, file))
        self._file_ok = True

    @classmethod
    def open(cls, path: Path, clock: Clock, on_reload: Callable[[bool], None] = lambda ok: None) -> Self:
        """Raises ConfigurationError for a file that cannot be read or used."""
        return cls(path, clock, on_reload, teams_file.read(path))

    @property
    def teams(self) -> tuple[Team, ...]:
        return tuple(entry.team for entry in self._keys.entries)

    @property
    def file_ok(self) -> bool | None:
        return self._file_ok

    def team_of(self, authorization: str | None) -> Team:
        return self._keys.team_of(authorization)

    async def watch(self) -> None:
        """Reads the file again when it changes, until cancelled."""
        while True:
            await self._clock.sleep(_POLL_EVERY_S)
            await self._reload()

    async def _reload(self) -> None:
        raw: bytes | None = None
        try:
            raw = teams_file.read(self._file)
            if raw == self._raw:
                return
            self._keys = TeamKeys(await self._parse(raw))
        except ConfigurationError as error:
            if raw is None and self._raw is None:
                return  # the file could not be read the last time either, and that was logged
            log.error("%s; the teams stay as they were", error)
            self._on_reload(False)
            self._file_ok = False
        else:
            log.info("the teams file has changed: %d teams", len(self.teams))
            self._on_reload(True)
            self._file_ok = True
        self._raw = raw

    async def _parse(self, raw: bytes) -> tuple[TeamEntry, ...]:
        if len(raw) > _LARGE_BYTES:
            return await asyncio.to_thread(teams_file.parse, raw, self._file)
        return teams_file.parse(raw, self._file)


class NoAuthentication:
    """Without a teams file no key is needed: every request belongs to the default team."""

    @property
    def teams(self) -> tuple[Team, ...]:
        return (DEFAULT_TEAM,)

    @property
    def file_ok(self) -> bool | None:
        return None

    def team_of(self, authorization: str | None) -> Team:
        return DEFAULT_TEAM

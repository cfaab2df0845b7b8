"""Authentication reads an `Authorization` header and returns the team that the key belongs to.

Guarantees: a key is compared, by its hash and in constant time, with every key there is; no key is ever logged or
sent back; a teams file that breaks while the service runs changes nothing; a key that is taken out of a file that can
be read is refused within five seconds. The file is read and parsed in a thread, because a file system may not answer
and the largest file takes seconds; while it fails, log and metrics say since when the teams are as they are.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from service.clock import Clock, wait_all
from service.errors import ConfigurationError, Unauthorized
from service.tenancy import teams_file
from service.tenancy.regular_file import SpareDescriptor, in_daemon_thread
from service.tenancy.team import DEFAULT_TEAM, Team
from service.tenancy.teams_file import TeamEntry

log = logging.getLogger("rubricd.admission")

_POLL_EVERY_S = 1.0
_START_S = 20.0
_SLOW_S = 5.0
"""A file that is not read within this time is a failure, although the reading goes on."""
_SAY_AGAIN_S = 60.0
_BEARER = re.compile(r"[ \t]*bearer[ \t]+(rbd_[A-Za-z0-9_-]{43})[ \t]*", re.IGNORECASE)


class Authentication(Protocol):
    """The routes ask this for the team of a request, the metrics for all teams."""

    @property
    def teams(self) -> tuple[Team, ...]: ...

    @property
    def file_ok(self) -> bool | None:
        """Returns whether the teams file could be read and used at the last look. None where there is no file."""

    @property
    def read_at_s(self) -> float | None:
        """When the file last said what the teams are, in seconds since 1970. None where there is no file."""

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


@dataclass(frozen=True, slots=True)
class _Content:
    """One content of the file: what it says, or why it cannot be used."""

    raw: bytes
    keys: TeamKeys | None
    failure: str | None = None
    warning: str | None = None


def _look(file: Path, spare: SpareDescriptor, seen: _Content | None) -> _Content:
    """Runs in a thread. `seen` itself where the file has not changed. Raises ConfigurationError where it cannot be
    read."""
    raw = teams_file.read(file, spare)
    if seen is not None and raw == seen.raw:
        return seen
    try:
        return _Content(raw, TeamKeys(teams_file.parse(raw, file)), warning=teams_file.warning(file))
    except ConfigurationError as error:
        return _Content(raw, None, str(error))


class TeamsFileAuthentication:
    """The keys of a teams file, as it is now. `on_reload` is called with whether the file's new content could be used,
    and with False again each minute while none can be."""

    def __init__(self, file: Path, clock: Clock, on_reload: Callable[[bool], None] = lambda ok: None) -> None:
        """Raises ConfigurationError for a file that cannot be read or used."""
        self._file = file
        self._clock = clock
        self._on_reload = on_reload
        self._spare = SpareDescriptor()
        self._reading: asyncio.Future[_Content] | None = None
        self._failure: str | None = None
        self._failure_said_s = 0.0
        try:
            self._seen = in_daemon_thread(partial(_look, file, self._spare, None)).result(_START_S)
        except TimeoutError:
            raise ConfigurationError(f"the teams file {file} does not answer: is its file system there?") from None
        if self._seen.keys is None:
            raise ConfigurationError(self._seen.failure or "")
        self._keys = self._seen.keys
        self._warning: str | None = None
        self._read_at_s = clock.wall()
        self._warn()

    @property
    def teams(self) -> tuple[Team, ...]:
        return tuple(entry.team for entry in self._keys.entries)

    @property
    def file_ok(self) -> bool | None:
        return self._failure is None

    @property
    def read_at_s(self) -> float | None:
        return self._read_at_s

    def team_of(self, authorization: str | None) -> Team:
        return self._keys.team_of(authorization)

    async def watch(self) -> None:
        """Reads the file again when it changes, until cancelled."""
        while True:
            await self._clock.sleep(_POLL_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Reads the file once, and takes its teams if it has changed. Returns after some seconds where the file does
        not answer. The next look waits for the same reading, so that one thread at most is held."""
        try:
            if self._reading is None:
                self._reading = asyncio.wrap_future(
                    in_daemon_thread(partial(_look, self._file, self._spare, self._seen))
                )
            await wait_all(self._clock, [self._reading], self._clock.now() + _SLOW_S)
            if not self._reading.done():
                return self._fail(f"the teams file {self._file} does not answer")
            done, self._reading = self._reading, None
            content = done.result()
        except ConfigurationError as error:
            return self._fail(str(error))
        except Exception as error:  # a thread or memory may be missing; the next look tries again, whatever it is
            return self._fail(f"the teams file {self._file} cannot be read ({type(error).__name__})")
        self._take(content)

    def _take(self, content: _Content) -> None:
        changed, self._seen = content is not self._seen, content
        if content.keys is None:
            return self._fail(content.failure or "")
        self._keys, self._read_at_s = content.keys, self._clock.wall()
        if changed or self._failure is not None:
            log.info("the teams file has %s: %d teams", "changed" if changed else "come back", len(self.teams))
            self._failure = None
            self._on_reload(True)
            self._warn()

    def _fail(self, failure: str) -> None:
        """The teams stay. A new failure is said at once, an old one again each minute."""
        now = self._clock.now()
        if failure == self._failure and now - self._failure_said_s < _SAY_AGAIN_S:
            return
        self._failure, self._failure_said_s = failure, now
        since = datetime.fromtimestamp(self._read_at_s, UTC).isoformat(timespec="seconds")
        log.error("%s; the teams stay as they were at %s, so a key revoked since then is accepted", failure, since)
        self._on_reload(False)

    def _warn(self) -> None:
        """Each warning once, not at each change of the file."""
        if self._seen.warning != self._warning and self._seen.warning is not None:
            log.warning("%s", self._seen.warning)
        self._warning = self._seen.warning


class NoAuthentication:
    """Without a teams file no key is needed: every request belongs to the default team."""

    @property
    def teams(self) -> tuple[Team, ...]:
        return (DEFAULT_TEAM,)

    @property
    def file_ok(self) -> bool | None:
        return None

    @property
    def read_at_s(self) -> float | None:
        return None

    def team_of(self, authorization: str | None) -> Team:
        return DEFAULT_TEAM

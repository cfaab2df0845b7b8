"""Defines what every store of rubrics does, and what it keeps about a version.

Guarantees: a version is a digest of its content, so that no store can answer a name and version with another content
than the one that they mean: what does not fit its version counts as absent.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from service.errors import Forbidden, InvalidRequest

VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored version. `stored_at` is in seconds since 1970."""

    name: str
    version: str
    bytes: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class Room:
    """What one team may store: versions, and bytes of all of them."""

    versions: int
    bytes: int

    def check(self, entries: Iterable[int], more: int) -> None:
        """Raises Forbidden where a version of `more` bytes does not fit beside those of these bytes."""
        sizes = list(entries)
        if len(sizes) >= self.versions or sum(sizes) + more > self.bytes:
            raise self.full()

    def full(self) -> Forbidden:
        return Forbidden(
            f"the team has no room for another stored rubric: it may have {self.versions} versions with {self.bytes} "
            "bytes together; remove some with DELETE /v1/rubrics/NAME@VERSION, or have the operator raise "
            "`rubrics_per_team` or `rubric_bytes_per_team`"
        )


class RubricStore(Protocol):
    """Each raises Unavailable where the store cannot be reached."""

    async def put(self, team: str, name: str, content: bytes) -> tuple[Entry, bool]:
        """Stores the content, and says whether it is new here. Raises Forbidden where the team has no room."""
        ...

    async def get(self, team: str, name: str, version: str) -> bytes | None: ...

    async def entries(self, team: str) -> list[Entry]:
        """The team's versions, the newest first."""
        ...

    async def remove(self, team: str, name: str, version: str) -> bool:
        """Returns whether it was there."""
        ...


def version_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda one: (-one.stored_at, one.name, one.version))


def same_version() -> InvalidRequest:
    """Two contents of one digest's first 64 bits: no accident."""
    return InvalidRequest("another rubric of this name has the same version; store this one under another name")

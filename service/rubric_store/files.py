"""Keeps stored rubrics as plain files, `FOLDER/team-NAME/RUBRIC@VERSION.json`, that a person can read and copy.

A file holds the rubric's canonical JSON and nothing else: `sha256sum` of it begins with its version.

Guarantees: a file is there whole or not at all. One whose content does not fit its version counts as absent, and is
written again by the next `put` of that version. No name of a team or a rubric leads out of the folder.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from service.errors import ConfigurationError, Unavailable
from service.rubric_store.store import Entry, Room, newest_first, same_version, version_of

T = TypeVar("T")


class FileRubricStore:
    """Several processes may share the folder. Raises ConfigurationError for one that cannot be used."""

    def __init__(self, folder: Path, room: Room) -> None:
        self._folder = folder
        self._room = room
        self._writing = asyncio.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"`rubrics` is {folder}, which cannot be made: {error.strerror}; choose another folder"
            ) from error
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"`rubrics` is {folder}, which cannot be written to; choose another folder")

    async def put(self, team: str, name: str, content: bytes) -> tuple[Entry, bool]:
        async with self._writing:  # one at a time, so that this process keeps to the team's room
            return await _off_loop(lambda: self._put(team, name, content))

    async def get(self, team: str, name: str, version: str) -> bytes | None:
        return await _off_loop(lambda: _read(self._file(team, name, version), version))

    async def entries(self, team: str) -> list[Entry]:
        return await _off_loop(lambda: newest_first(self._entries(team)))

    async def remove(self, team: str, name: str, version: str) -> bool:
        def remove() -> bool:
            try:
                self._file(team, name, version).unlink()
            except FileNotFoundError:
                return False
            return True

        return await _off_loop(remove)

    def _put(self, team: str, name: str, content: bytes) -> tuple[Entry, bool]:
        version = version_of(content)
        file = self._file(team, name, version)
        held = _read(file, version)
        if held is not None and held != content:
            raise same_version()
        if held is None:
            self._room.check((one.bytes for one in self._entries(team)), len(content))
            file.parent.mkdir(exist_ok=True)
            new = file.with_name(f".{secrets.token_hex(8)}.new")
            try:
                new.write_bytes(content)
                os.replace(new, file)
            except OSError:  # on a full disk, what was written of it would stay
                new.unlink(missing_ok=True)
                raise
        return _entry(file, name, version), held is None

    def _file(self, team: str, name: str, version: str) -> Path:
        return self._of(team) / f"{name}@{version}.json"

    def _of(self, team: str) -> Path:
        return self._folder / f"team-{quote(team, safe='')}"

    def _entries(self, team: str) -> list[Entry]:
        found = []
        for file in self._of(team).glob("[!.]*@*.json"):
            name, _, version = file.stem.rpartition("@")
            found.append(_entry(file, name, version))
        return found


def _entry(file: Path, name: str, version: str) -> Entry:
    about = file.stat()
    return Entry(name, version, about.st_size, about.st_mtime)


def _read(file: Path, version: str) -> bytes | None:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    return content if version_of(content) == version else None


async def _off_loop(work: Callable[[], T]) -> T:
    """Raises Unavailable for a fault of the file system."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise Unavailable(f"the folder of stored rubrics cannot be used ({error.strerror})") from error

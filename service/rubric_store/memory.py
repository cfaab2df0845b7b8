"""Keeps stored rubrics in the memory of one process, until it ends."""

from service.clock import Clock
from service.rubric_store.store import Entry, Room, newest_first, same_version, version_of


class MemoryRubricStore:
    def __init__(self, clock: Clock, room: Room) -> None:
        self._clock = clock
        self._room = room
        self._teams: dict[str, dict[tuple[str, str], tuple[bytes, Entry]]] = {}

    async def put(self, team: str, name: str, content: bytes) -> tuple[Entry, bool]:
        version, own = version_of(content), self._teams.setdefault(team, {})
        if (held := own.get((name, version))) is not None:
            if held[0] != content:
                raise same_version()
            return held[1], False
        self._room.check((entry.bytes for _, entry in own.values()), len(content))
        entry = Entry(name, version, len(content), self._clock.wall())
        own[name, version] = content, entry
        return entry, True

    async def get(self, team: str, name: str, version: str) -> bytes | None:
        held = self._teams.get(team, {}).get((name, version))
        return None if held is None else held[0]

    async def entries(self, team: str) -> list[Entry]:
        return newest_first(entry for _, entry in self._teams.get(team, {}).values())

    async def remove(self, team: str, name: str, version: str) -> bool:
        return self._teams.get(team, {}).pop((name, version), None) is not None

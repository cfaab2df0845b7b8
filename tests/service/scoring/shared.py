"""A SharedCache in memory, for several askers in one test."""

from collections.abc import Callable, Sequence

from service.cache.shared import LookedUp
from service.scoring.ways import Said

Known = Callable[[bytes, Said], None]
Mine = Callable[[Sequence[bytes]], None]


class Pool:
    """What the askers share: verdicts, and who judges what."""

    def __init__(self) -> None:
        self.values: dict[bytes, Said] = {}
        self.holders: dict[bytes, Sharing] = {}
        self.members: list[Sharing] = []

    def member(self) -> "Sharing":
        self.members.append(Sharing(self))
        return self.members[-1]


class Sharing:
    """One asker's end of the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.watched: dict[bytes, tuple[Known, Mine]] = {}
        self.looked_up = 0

    async def look_up(self, keys: Sequence[bytes]) -> LookedUp[Said]:
        self.looked_up += 1
        pool = self._pool
        known = {key: pool.values[key] for key in keys if key in pool.values}
        missing = [key for key in keys if key not in known]
        mine = [key for key in missing if pool.holders.setdefault(key, self) is self]
        return LookedUp(known, frozenset(mine), frozenset(missing) - set(mine))

    def watch(self, keys: Sequence[bytes], known: Known, mine: Mine) -> None:
        self.watched.update((key, (known, mine)) for key in keys)

    def unwatch(self, key: bytes) -> None:
        self.watched.pop(key, None)

    def keep(self, key: bytes, value: Said) -> None:
        assert self._pool.holders.pop(key) is self
        self._pool.values[key] = value
        for member in self._pool.members:
            if watching := member.watched.pop(key, None):
                watching[0](key, value)

    def give_up(self, key: bytes) -> None:
        assert self._pool.holders.pop(key) is self
        for member in self._pool.members:
            if watching := member.watched.pop(key, None):
                self._pool.holders[key] = member
                watching[1]([key])
                return

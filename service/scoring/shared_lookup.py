"""The shared lookup finds what other processes know or judge, so that this one judges the rest.

Guarantees: each query that is looked up is known, judged here, or watched while another process judges it; a watched
query whose process gives up is judged here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from service.cache.memory import MemoryCache
from service.cache.shared import SharedCache
from service.modes.modes import ModeResult
from service.scoring.submission import NewQuery


@dataclass(frozen=True, slots=True)
class _Watched:
    """The work of a flight that another process does. That process has deadlines of its own."""

    unwatch: Callable[[], None]

    def cancel(self) -> None:
        self.unwatch()

    def extend_deadline(self, deadline_s: float | None) -> None:
        pass


class SharedLookup:
    """`judge` starts to judge queries here that another process gave up."""

    def __init__(
        self,
        shared: SharedCache[ModeResult],
        memory: MemoryCache[ModeResult],
        judge: Callable[[Sequence[NewQuery]], None],
    ) -> None:
        self._shared = shared
        self._memory = memory
        self._judge = judge

    async def look_up(self, new: Sequence[NewQuery]) -> Sequence[NewQuery]:
        """Ends the flights that are known and watches those of other processes; returns what is to be judged here."""
        by_key = {one.key: one for one in new}
        with new[0].context.trace.span("cache", queries=len(new)) as span:
            found = await self._shared.look_up(list(by_key))
            span.set(hits=len(found.known), elsewhere=len(found.elsewhere))
        for key, result in found.known.items():
            one = by_key[key]
            one.usage.cache_hits += one.query.judgements
            one.usage.shared_hits += one.query.judgements
            self._memory.put(key, result)
            one.flight.succeed(result, cached=True)
        self._watch([by_key[key] for key in found.elsewhere])
        return [one for one in new if one.key in found.mine]

    def _watch(self, elsewhere: Sequence[NewQuery]) -> None:
        # A flight whose last waiter left during the lookup needs no watching; no lease of this process is held for it.
        by_key = {one.key: one for one in elsewhere if not one.flight.future.done()}
        if not by_key:
            return
        for one in by_key.values():
            one.flight.work = _Watched(partial(self._shared.unwatch, one.key))

        def known(key: bytes, result: ModeResult) -> None:
            one = by_key[key]
            one.usage.deduplicated += one.query.judgements
            one.usage.awaited += one.query.judgements
            self._memory.put(key, result)
            one.flight.succeed(result)  # not `cached`: the judge gave it while this request waited

        def mine(keys: Sequence[bytes]) -> None:
            self._judge([by_key[key] for key in keys])

        self._shared.watch(list(by_key), known, mine)

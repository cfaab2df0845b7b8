"""Adds the verdicts of answered requests to a ledger on disk, in a thread of its own.

Guarantees: a request waits for nothing here: what does not fit the bounded queue, or cannot be written, is counted as
lost. Digests are computed in the thread. What the queue holds when the service stops is written before it ends.
"""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.clock import Clock
from service.scoring.results import Scored
from trainer_client import wire
from trainer_client.ledger.entries import Entry, of_criterion, of_item
from trainer_client.ledger.writing import LedgerWriter

log = logging.getLogger(__name__)

_MOST_QUEUED = 200_000
"""Verdicts that may wait for the disk: about as many as a fast judge gives in a minute."""
_STOP_S = 10.0
_TELL_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class _Answered:
    """What was judged, with the time of the answer in seconds since 1970."""

    team: str
    judge: str
    mode: str
    items: Sequence[wire.Item]
    scored: Sequence[Scored]
    at_s: float
    verdicts: int


class VerdictLedger:
    """`count` is told how many verdicts were `written` or `lost`; it is called in the thread, too."""

    def __init__(self, folder: Path, max_bytes: int, clock: Clock, count: Callable[[str, int], None]) -> None:
        self._folder = folder
        self._writer = LedgerWriter(folder, {"by": "service"}, max_bytes=max_bytes)
        self._clock = clock
        self._count = count
        self._waiting: deque[_Answered] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._quiet_until_s = 0.0
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def record(self, team: str, judge: str, mode: str, items: Sequence[wire.Item], scored: Sequence[Scored]) -> None:
        """Queues the verdicts of one answer; they are lost where too many wait."""
        verdicts = sum([len(one.judgements) for one in scored])
        answered = _Answered(team, judge, mode, items, scored, self._clock.wall(), verdicts)
        with self._changed:
            fits = self._queued + verdicts <= _MOST_QUEUED and not self._stopping
            if fits:
                self._waiting.append(answered)
                self._queued += verdicts
                self._changed.notify()
        if not fits:
            self._count("lost", verdicts)

    def stop(self) -> None:
        """Waits until what is queued is written, or for some seconds: then the rest is lost."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_STOP_S)
        with self._changed:
            lost, self._queued = self._queued, 0
            self._waiting.clear()
        if lost:
            self._count("lost", lost)

    def _work(self) -> None:
        while (answered := self._next()) is not None:
            try:
                written = self._writer.write(_entries(answered), answered.at_s)
            except Exception as error:  # the disk's, or a bug: without this thread every later verdict would be lost
                self._count("lost", answered.verdicts)
                self._tell(error)
            else:
                self._count("written", written)
            with self._changed:
                self._queued = max(0, self._queued - answered.verdicts)

    def _next(self) -> _Answered | None:
        """None once the service stops and nothing is left."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            with contextlib.suppress(IndexError):
                return self._waiting.popleft()
            return None

    def _tell(self, error: Exception) -> None:
        """A bug by its name alone: what it says may quote an answer."""
        if self._clock.now() >= self._quiet_until_s:
            self._quiet_until_s = self._clock.now() + _TELL_EVERY_S
            why = (error.strerror or error) if isinstance(error, OSError) else type(error).__name__
            log.warning(
                "the ledger in %s cannot be written (%s) and lacks verdicts: make room there, or correct its rights",
                self._folder,
                why,
            )


def _entries(answered: _Answered) -> Iterator[Entry]:
    shared = [about for item in answered.items for about in of_item(item)]
    told = {"judge": answered.judge, "mode": answered.mode, "team": answered.team}
    for about, one in zip(shared, answered.scored, strict=True):
        for criterion, judgement in zip(one.criteria, one.judgements, strict=True):
            text = None if one.rating is not None or answered.mode in ("implicit", "likert") else criterion.text
            yield {**about, **of_criterion(text, judgement), **told}

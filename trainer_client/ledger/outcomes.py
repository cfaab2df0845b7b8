"""Turns what a client was answered into the lines of a ledger.

Guarantees: each criterion of each response has a line, also where the request failed: then its status is the error's
code and its verdict null.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_client import wire
from trainer_client.client import Failed, Outcome
from trainer_client.ledger.entries import Entry, of_criterion, of_item
from trainer_client.ledger.writing import LedgerWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _NotSaid:
    """A criterion of a response that has no result. `status` is the code of the error."""

    status: str
    met: None = None
    p: None = None
    p_raw: None = None
    source: None = None
    level: None = None
    extracted: None = None


class OutcomeLedger:
    """The ledger of one process of a training. A disk that fails ends no training: the loss is counted, and said once.

    It may be called from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = LedgerWriter(folder, {"by": "client"})
        self._lock = threading.Lock()
        self.lost = 0

    def add(self, items: Sequence[wire.Item], outcomes: Sequence[Outcome]) -> None:
        lines = list(lines_of(items, outcomes))
        with self._lock:
            try:
                self._writer.write(lines, time.time())
            except OSError as error:
                if not self.lost:
                    log.warning("the ledger cannot be written, so verdicts are missing in it: %s", error)
                self.lost += len(lines)


def lines_of(items: Sequence[wire.Item], outcomes: Sequence[Outcome]) -> Iterator[Entry]:
    """The lines of all responses, whose outcomes are in the order of the items."""
    shared = [(item, about) for item in items for about in of_item(item)]
    for (item, about), outcome in zip(shared, outcomes, strict=True):
        criteria = [] if item.rubric is None else item.rubric.criteria
        if isinstance(outcome, Failed):
            told: Entry = {"judge": None, "mode": None, "attempts": outcome.error.attempts}
            for criterion in criteria:
                yield {**about, **of_criterion(criterion.judged_text, _NotSaid(outcome.error.code)), **told}
            continue
        told = {"judge": outcome.judge.fingerprint, "mode": outcome.judge.mode, "attempts": outcome.attempts}
        texts: dict[str, str] = {}
        if item.rubric is not None:
            texts = {id: one.judged_text for id, one in zip(item.rubric.ids(), criteria, strict=True)}
        for said in outcome.result.criteria:
            yield {**about, **of_criterion(texts.get(said.id), said), **told}

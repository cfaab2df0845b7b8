"""Criteria, turns and the whole scaffold, for the tests of what it reveals and of how it says so."""

from trainer_client import wire
from trainer_client.scaffold import Message, Scaffold, Schedule

FULL = Scaffold(Schedule(over="constant"))
BARE: list[Message] = [{"role": "user", "content": "Hello?"}]


def criteria(*points: float, polarity: wire.Polarity | None = None) -> list[wire.Criterion]:
    return [wire.Criterion(text=f"Says {n}.", points=one, polarity=polarity) for n, one in enumerate(points)]

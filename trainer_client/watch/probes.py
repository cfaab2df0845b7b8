"""Finds criteria that the judge calls met of an answer that says nothing, or nothing about the prompt.

Each criterion of a log is asked about once for each of the two answers, in the first rubric that has it. Criteria with
positive points that demand something cannot be met by either.

Guarantees: what the judge did not decide is in no finding. A criterion that speaks of what is absent is not asked
about, as an empty answer rightly meets it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer_client.audit.askings import Answer, Asking
from trainer_client.audit.rewording import demands_something
from trainer_client.rollouts import Rollout
from trainer_client.watch.observed import Named

Answered = Literal["empty", "off_topic"]
ANSWERS: Mapping[Answered, str] = {
    "empty": "",
    "off_topic": "The museum opens at nine in the morning. Tickets are sold at the entrance, and the garden is free.",
}
ANSWERED: Mapping[Answered, str] = {"empty": "an empty answer", "off_topic": "an answer about something else"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What to ask about one rubric: its items by answer, and the criteria that count, by id."""

    items: Mapping[Answered, Asking]
    criteria: Mapping[str, Named]


@dataclass(frozen=True, slots=True)
class Finding:
    """A criterion that an answer without content meets."""

    answer: Answered
    criterion: Named
    p: float | None
    action: str = "gate"
    advice: str = "an answer without content earns it: gate it behind a criterion that has content, or reword it"


class Probes:
    """Collects what to ask, in the order of the log: only criteria that no earlier rubric had."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bool]] = set()

    def of(self, rollouts: Iterable[Rollout]) -> list[Probe]:
        found = []
        for one in rollouts:
            probe = self._of(one)
            if probe is not None:
                found.append(probe)
        return found

    def _of(self, one: Rollout) -> Probe | None:
        if one.rubric is None:
            return None
        new = {}
        for id, criterion in zip(one.rubric.ids(), one.rubric.criteria, strict=True):
            key = (criterion.judged_text, criterion.worth < 0)
            if key not in self._seen and criterion.verifier is None:
                self._seen.add(key)
                if demands_something(criterion):
                    new[id] = Named(id, criterion.judged_text, criterion.worth)
        if not new:
            return None
        return Probe({name: Asking(one.item(text)) for name, text in ANSWERS.items()}, new)


def findings(probes: Sequence[Probe], answers: Mapping[str, Answer]) -> list[Finding]:
    """The criteria that are met, in the order of the log."""
    found = []
    for probe in probes:
        for name, asking in probe.items.items():
            said = answers.get(asking.key, {})
            for id, named in probe.criteria.items():
                if id in said and said[id].met:
                    found.append(Finding(name, named, said[id].p))
    return found

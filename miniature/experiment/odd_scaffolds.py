"""Scaffolds that are only studied: two ways of RuscaRL's released code that its paper does not have.

In one, a fault, some prompts of a batch are shown another prompt's rubric: rubrics travel beside the batch, and where
this is cut for several workers half of the prompts get the other half's. The other is its `math_linear`.

Guarantees: What is shown is a pure function of seed, row, step and member.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from miniature.world.clinic import rubric
from miniature.world.tasks import topics
from trainer_client import wire
from trainer_client.scaffold import Message, Scaffold


@dataclass(frozen=True, slots=True)
class MixedUp(Scaffold):
    """`share` of the prompts of a step are shown the rubric of another topic of the training."""

    share: float = 0.5
    _others: dict[str, list[wire.Criterion]] = field(default_factory=dict, repr=False)

    def reveal(self, rubric: Sequence[wire.Criterion], **place: Any) -> tuple[int, ...]:
        random = Random(f"mixed up/{self.seed}/{place['row']}/{place['step']}")
        self._others.clear()
        if random.random() < self.share:
            self._others["now"] = _another(rubric, random)
        # Qualified, since a class with slots is made twice and `super` would look for the first.
        return Scaffold.reveal(self, rubric, **place)

    def messages(
        self, messages: Sequence[Message], rubric: Sequence[wire.Criterion], revealed: Sequence[int]
    ) -> list[Message]:
        """The rubric is the one that the last `reveal` chose: rollouts are begun one after the other."""
        return Scaffold.messages(self, messages, self._others.get("now", rubric), revealed)


@dataclass(frozen=True, slots=True)
class InOrder(Scaffold):
    """Criteria in the rubric's order instead of any: wherever something is shown the last one, then the first ones, and
    the last but one, in the released code the answer of a sum, only where all are shown."""

    def reveal(self, rubric: Sequence[wire.Criterion], **place: Any) -> tuple[int, ...]:
        drawn = Scaffold.reveal(self, rubric, **place)
        *others, answer, always = [place for place, criterion in enumerate(rubric) if criterion.worth != 0]
        return (always, *others, answer)[: len(drawn)]


def _another(own: Sequence[wire.Criterion], random: Random) -> list[wire.Criterion]:
    others = [rubric(topic) for topic in topics("train")]
    texts = {one.text for one in own}
    others = [one for one in others if {criterion.text for criterion in one} != texts]
    return [wire.Criterion(id=c.id, text=c.text, points=c.points) for c in random.choice(others)]

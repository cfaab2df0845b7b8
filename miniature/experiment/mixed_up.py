"""A scaffold with a fault: some prompts of a batch are shown another prompt's rubric.

RuscaRL's released code has it: rubrics travel beside the batch, and where this is cut for several workers the second
half of the prompts gets the first half's.

Guarantees: Which prompts of a step are mixed up, and with whom, is a pure function of seed, row and step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from miniature.world.clinic import rubric
from miniature.world.tasks import topics
from trainer_client import wire
from trainer_client.scaffold import Message, Scaffold


@dataclass(frozen=True, slots=True)
class MixedUp(Scaffold):
    """`share` of the prompts of a step are shown the rubric of another topic of the training."""

    share: float = 0.5
    _others: dict[str, list[wire.Criterion]] = field(default_factory=dict, repr=False)

    def reveal(
        self, rubric: Sequence[wire.Criterion], *, row: str, member: int, group: int, step: int, total: int
    ) -> tuple[int, ...]:
        random = Random(f"mixed up/{self.seed}/{row}/{step}")
        self._others.clear()
        if random.random() < self.share:
            self._others["now"] = _another(rubric, random)
        # Qualified, since a class with slots is made twice and `super` would look for the first.
        return Scaffold.reveal(self, rubric, row=row, member=member, group=group, step=step, total=total)

    def messages(
        self, messages: Sequence[Message], rubric: Sequence[wire.Criterion], revealed: Sequence[int]
    ) -> list[Message]:
        """The rubric is the one that the last `reveal` chose: rollouts are begun one after the other."""
        return Scaffold.messages(self, messages, self._others.get("now", rubric), revealed)


def _another(own: Sequence[wire.Criterion], random: Random) -> list[wire.Criterion]:
    others = [rubric(topic) for topic in topics("train")]
    texts = {one.text for one in own}
    others = [one for one in others if {criterion.text for criterion in one} != texts]
    return [wire.Criterion(id=c.id, text=c.text, points=c.points) for c in random.choice(others)]

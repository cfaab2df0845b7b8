"""What a rating of 1..10 is in this world: the exact reward, rounded. With it a judge can learn to rate.

A judge that sees a rubric rates by it. One that sees none rates by the topic's own rubric, which it must have learned,
or read from a reference answer.

Guarantees: A rating is a pure function of rubric and text. A training case's reference answer and rubric hold no
held-out combination.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from miniature.world.cases import Case
from miniature.world.clinic import Criterion, Topic, held_out, key_items, rubric
from miniature.world.oracle import reward
from miniature.world.responses import Response, Step, plain_text


@dataclass(frozen=True, slots=True)
class Rated:
    """A case's response rated by a rubric, or, where `rubric` is empty, by the topic's own and a reference answer if
    there is one."""

    case: Case
    rubric: tuple[Criterion, ...]
    reference: str | None
    rating: int


def rating(criteria: Sequence[Criterion], text: str) -> int:
    """1 for no reward to 10 for all of it. Raises ZeroDivisionError where no criterion has positive points."""
    return 1 + round(9 * min(max(reward(tuple(criteria), text), 0.0), 1.0))


def reference_answer(topic: Topic, random: Random | None = None, *, training: bool = False) -> str:
    """The topic's key items as a plain answer, in the clinic's order or in any."""
    items = [item for item in key_items(topic) if not (training and held_out(topic, item))]
    if random is not None:
        random.shuffle(items)
    return plain_text(Response(topic, tuple(Step(item) for item in items)))


def by_rubric(case: Case, random: Random, rubrics: int) -> list[Rated]:
    """The case's response rated by `rubrics` parts of its criteria, none where no criterion has positive points."""
    if not any(criterion.points > 0 for criterion in case.criteria):
        return []
    return [_by_part(case, random) for _ in range(rubrics)]


def _by_part(case: Case, random: Random) -> Rated:
    size = min(random.randint(4, 9), len(case.criteria))
    part = random.sample(case.criteria, size)
    while not any(criterion.points > 0 for criterion in part):
        part = random.sample(case.criteria, size)
    return Rated(case, tuple(part), None, rating(part, case.response))


def by_topic(case: Case, random: Random, *, referenced: bool, training: bool) -> Rated:
    """The case's response rated by its topic's rubric, which is not shown."""
    own = [c for c in rubric(case.topic) if not (training and c.item is not None and held_out(case.topic, c.item))]
    reference = reference_answer(case.topic, random, training=training) if referenced else None
    return Rated(case, (), reference, rating(own, case.response))

"""Teaches the tiny policy before any reward: to answer in the clinic's style, and to follow a scaffold.

Two kinds of examples. A bare one has the question alone; its answer holds what anybody would say, except for the few
topics that the policy is to know. A scaffolded one shows a part of a rubric as the trainer's scaffold words it; its
answer does what is shown and is filled up with what anybody would say.

Guarantees: An example is a pure function of seed and index. The items of a scaffold are drawn without regard to the
topic, so that nothing of the topics of `tasks` is taught, only to follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from miniature.world.cases import question
from miniature.world.clinic import GENERIC_ITEMS, KEY_ITEMS, TOPICS, Criterion, Item, Topic, key_items
from miniature.world.responses import Response, Step, plain_text
from miniature.world.tasks import known
from trainer_client import wire
from trainer_client.scaffold import Message, Scaffold

SCAFFOLD = Scaffold()


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares: of examples, those with a scaffold; of bare ones, those on known topics, answered rightly; of steps that
    nobody asked for, key items drawn at random; of answers, those that name the problem unasked."""

    scaffolded: float = 0.6
    known: float = 0.35
    stray: float = 0.03
    names: float = 0.9
    steps: tuple[int, int] = (3, 6)


@dataclass(frozen=True, slots=True)
class Example:
    messages: tuple[Message, ...]
    answer: str

    @property
    def scaffolded(self) -> bool:
        return self.messages[0]["role"] == "system"


def example(seed: int, index: int, mix: Mix) -> Example:
    random = Random(f"sft/{seed}/{index}")
    if random.random() < mix.scaffolded:
        return _scaffolded(random, mix)
    if random.random() < mix.known:
        topic = random.choice(known())
        return _example([], topic, _filled(list(key_items(topic)), topic, (), 4, random, mix), random)
    topic = random.choice(TOPICS)
    named = topic if random.random() < mix.names else None
    return _example([], topic, _filled([], named, (), mix.steps[0], random, mix), random)


def _scaffolded(random: Random, mix: Mix) -> Example:
    """As many criteria shown as not, evenly; at least one."""
    topic = random.choice(TOPICS)
    rubric = _any_rubric(topic, random)
    shown = sorted(random.sample(range(len(rubric)), random.randint(1, len(rubric))))
    asked = [rubric[n] for n in shown]
    items = [c.item for c in asked if c.item is not None and c.points > 0]
    avoid = [c.item for c in asked if c.item is not None and c.points < 0]
    named = any(c.kind == "names" for c in asked) or random.random() < mix.names
    least = max([mix.steps[0], *(c.number for c in asked if c.kind == "at_least")])
    response = _filled(items, topic if named else None, avoid, least, random, mix)
    on_the_wire = [wire.Criterion(text=c.text, points=c.points) for c in rubric]
    return _example(on_the_wire, topic, response, random, shown)


def _any_rubric(topic: Topic, random: Random) -> list[Criterion]:
    """A rubric as the topic's own in form; its items and points are any."""
    return [
        *(Criterion("item", float(random.randint(4, 9)), item=item) for item in random.sample(KEY_ITEMS, 4)),
        Criterion("item", -float(random.randint(3, 6)), item=random.choice(GENERIC_ITEMS)),
        Criterion("names", float(random.randint(1, 3)), topic=topic),
        Criterion("at_least", float(random.randint(1, 3)), number=4),
        Criterion("more_than", -8.0, number=6),
    ]


def _filled(
    items: Sequence[Item], named: Topic | None, avoid: Sequence[Item], least: int, random: Random, mix: Mix
) -> Response:
    """The items, then others until there are enough steps."""
    said = list(items)
    steps = random.randint(max(least, len(said)), max(mix.steps[1], len(said)))
    while len(said) < steps:
        item = random.choice(KEY_ITEMS if random.random() < mix.stray else GENERIC_ITEMS)
        if item not in said and item not in avoid:
            said.append(item)
    return Response(named, tuple(Step(item) for item in said))


def _example(
    rubric: Sequence[wire.Criterion], topic: Topic, response: Response, random: Random, shown: Sequence[int] = ()
) -> Example:
    asked: Message = {"role": "user", "content": question(topic, random)}
    return Example(tuple(SCAFFOLD.messages([asked], rubric, shown)), plain_text(response))

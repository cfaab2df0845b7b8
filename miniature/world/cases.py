"""Cases: a conversation, a response and a rubric, with the truth of every criterion. Made, never collected.

Two streams that cannot meet. `training` never shows a held-out combination of topic and item, in no response and no
criterion; every case of `evaluation` asks about at least one. So no case for evaluation is ever one of training,
whatever the seeds. The two also draw from different seed spaces.

Guarantees: A case is a pure function of stream, seed and index. The truth is the exact oracle's reading of the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from miniature.world.broken import broken, half_said
from miniature.world.clinic import GENERIC_ITEMS, ITEMS, TOPICS, Criterion, Item, Topic, held_out, rubric
from miniature.world.oracle import met, read, steps
from miniature.world.responses import STYLES, Response, Step, Wording, render

QUESTIONS = (
    "I have {name}. What should I do?",
    "What helps with {name}?",
    "My {part} is {complaint}. Any advice?",
    "How do I treat {name}?",
    "Hello, I woke up with {name} today.",
    "Please help, my {part} has been {complaint} for days.",
)
GREETING = (("user", "Hello."), ("assistant", "Hello, this is the clinic. How can I help?"))


@dataclass(frozen=True, slots=True)
class Case:
    """`turns` are (role, content) pairs; `met` is the truth of `criteria`, in their order."""

    id: str
    topic: Topic
    turns: tuple[tuple[str, str], ...]
    response: str
    criteria: tuple[Criterion, ...]
    met: tuple[bool, ...]

    @property
    def wire(self) -> dict[str, Any]:
        """The case as an item of the scoring request."""
        single = len(self.turns) == 1
        return {
            "id": self.id,
            "prompt": self.turns[0][1] if single else [{"role": role, "content": text} for role, text in self.turns],
            "response": self.response,
            "rubric": {"criteria": [{"id": c.id, "text": c.text, "points": c.points} for c in self.criteria]},
        }

    @property
    def truth(self) -> dict[str, bool]:
        return {criterion.id: met for criterion, met in zip(self.criteria, self.met, strict=True)}


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares that make cases easier or harder. `asked` bounds the items asked about beyond the topic's own, `more` is
    how many numbers, and how many names, are asked about beyond the topic's own. `broken` is the share of responses
    that are broken as in `miniature.world.broken`; their cases ask about what is half said, too."""

    plain: float = 0.25
    negated: float = 0.16
    empty: float = 0.02
    most_steps: int = 8
    asked: tuple[int, int] = (1, 2)
    more: int = 0
    only_items: bool = False
    broken: float = 0.0


STANDARD = Mix()
BROKEN = Mix(plain=0.75, negated=0.05, broken=1.0)
_COUNTS = (
    *(Criterion("at_least", 2.0, number=number) for number in (3, 4, 5)),
    *(Criterion("more_than", -8.0, number=number) for number in (5, 6, 7)),
)
Pools = tuple[Sequence[Item], ...]


def evaluation(seed: int, index: int, mix: Mix = STANDARD) -> Case:
    """A case of the evaluation stream; at least one of its criteria is about a held-out combination."""
    random = Random(f"evaluation/{seed}/{index}")
    topic = random.choice(TOPICS)
    return _case(f"{seed}-{index}", topic, random, mix, _pools(topic, with_held_out=True))


def training(seed: int, index: int, mix: Mix = STANDARD) -> Case:
    """A case of the training stream; it holds no held-out combination."""
    random = Random(f"training/{seed}/{index}")
    topic = random.choice(TOPICS)
    return _case(f"training-{seed}-{index}", topic, random, mix, _pools(topic, with_held_out=False))


def training_on(text: str, seed: int, index: int, mix: Mix = STANDARD) -> Case:
    """A case of the training stream about a text that somebody wrote. It is of the topic that the text names or, where
    that would make a held-out combination, of another one."""
    random = Random(f"training-on/{seed}/{index}")
    response = read(text)
    topics = [t for t in TOPICS if not any(held_out(t, step.item) for step in response.steps)]
    topic = response.named if response.named in topics else random.choice(topics or TOPICS)
    if topic not in topics:
        text, response = "", Response(None, ())
    pools = _pools(topic, with_held_out=False)
    own = [c for c in rubric(topic) if c.item is None or c.item in pools[0]]
    kept = random.sample(own, max(len(own) - random.randint(0, 2), 1))
    more = _asked([c.item for c in kept if c.item], response, random, mix, pools)
    criteria = [*(_varied(c, topic, random) for c in kept), *(_any_points(item, random) for item in more)]
    criteria += _more(criteria, topic, response.named, random, mix)
    criteria += _half_said(criteria, text, random, pools)
    random.shuffle(criteria)
    return _judged(f"training-on-{seed}-{index}", topic, text, criteria, random)


def question(topic: Topic, random: Random) -> str:
    return random.choice(QUESTIONS).format(name=topic.name, part=topic.part, complaint=topic.complaint)


@cache
def _pools(topic: Topic, with_held_out: bool) -> Pools:
    """Returns what the stream may speak about, in pools drawn from equally often: the known, and the held-out if
    wanted."""
    known = tuple(item for item in ITEMS if not held_out(topic, item))
    return (known, tuple(item for item in ITEMS if held_out(topic, item))) if with_held_out else (known,)


def _case(id: str, topic: Topic, random: Random, mix: Mix, pools: Pools) -> Case:
    own = [c for c in rubric(topic) if any(c.item in pool for pool in pools) or (c.item is None and not mix.only_items)]
    kept = random.sample(own, max(len(own) - random.randint(0, 2), min(len(own), 1)))
    response = _response(topic, [c.item for c in kept if c.item], random, mix, pools)
    more = _asked([c.item for c in kept if c.item], response, random, mix, pools)
    criteria = [
        *(_varied(criterion, topic, random) for criterion in kept),
        *(_any_points(item, random) for item in more),
    ]
    if mix.more:
        criteria += _more(criteria, topic, response.named, random, mix)
    random.shuffle(criteria)
    wording = Wording(style=random.choice(STYLES), plain=random.random() < mix.plain)
    text = "" if random.random() < mix.empty else render(response, wording, random)
    # Nothing is drawn where nothing is broken: the published cases stay what they are.
    if mix.broken and random.random() < mix.broken:
        text = _broken(text, random, pools)
        criteria += _half_said(criteria, text, random, pools)
        random.shuffle(criteria)
    return _judged(id, topic, text, criteria, random)


def _judged(id: str, topic: Topic, text: str, criteria: Sequence[Criterion], random: Random) -> Case:
    turns = (*(GREETING if random.random() < 0.15 else ()), ("user", question(topic, random)))
    truth = tuple(met(criterion, text) for criterion in criteria)
    return Case(id=id, topic=topic, turns=turns, response=text, criteria=tuple(criteria), met=truth)


def _broken(text: str, random: Random, pools: Pools) -> str:
    """The text broken so that it says nothing beyond what the stream may speak about; the text where that fails."""
    tries = (broken(text, random) for _ in range(8))
    return next((one for one in tries if all(any(s.item in pool for pool in pools) for s in steps(one))), text)


def _half_said(criteria: Sequence[Criterion], text: str, random: Random, pools: Pools) -> list[Criterion]:
    """Up to three items that the text has a word of, each asked about as if it were said."""
    asked = {criterion.item for criterion in criteria}
    items = [item for item in half_said(text) if item not in asked and any(item in pool for pool in pools)]
    return [_any_points(item, random) for item in random.sample(items, min(3, len(items)))]


def _response(topic: Topic, own: Sequence[Item], random: Random, mix: Mix, pools: Pools) -> Response:
    """Each of the rubric's items or not, some others between them, and a name for the problem, right or wrong."""
    items = [item for item in own if random.random() < 0.5]
    others = random.randint(0, max(mix.most_steps - len(items), 0))
    for _ in range(others):
        item = random.choice(random.choice(pools))
        if item not in items and item not in own:
            items.append(item)
    random.shuffle(items)
    steps = tuple(Step(item, negated=random.random() < mix.negated) for item in items[: mix.most_steps])
    named = random.choices((topic, _near(topic, random), None), weights=(5, 3, 2))[0]
    return Response(named=named, steps=steps)


def _asked(own: Sequence[Item], response: Response, random: Random, mix: Mix, pools: Pools) -> list[Item]:
    """Items to ask about beyond the rubric's, half of them from the response. The last comes from the last pool, which
    is the held-out one where there is one."""
    said = [step.item for step in response.steps if step.item not in own]
    asked: list[Item] = []
    for _ in range(random.randint(*mix.asked) - 1):
        pool = said if said and random.random() < 0.5 else random.choice(pools)
        asked.append(random.choice(pool))
    said = [item for item in said if item in pools[-1]]
    asked.append(random.choice(said if said and random.random() < 0.5 else pools[-1]))
    return [item for item in dict.fromkeys(asked) if item not in own]


def _varied(criterion: Criterion, topic: Topic, random: Random) -> Criterion:
    """The criterion, or one of its kind with another number or topic."""
    if criterion.kind == "item" or random.random() < 0.6:
        return criterion
    if criterion.kind == "names":
        return replace(criterion, topic=_near(topic, random))
    return replace(criterion, number=criterion.number + random.choice((-1, 1)))


def _more(
    criteria: Sequence[Criterion], topic: Topic, named: Topic | None, random: Random, mix: Mix
) -> list[Criterion]:
    """Numbers and names that the criteria do not yet ask about, half of the names the response's own."""
    asked = {criterion.id for criterion in criteria}
    counts = [criterion for criterion in _COUNTS if criterion.id not in asked]
    near = [named] if named and random.random() < 0.5 else [other for other in TOPICS if _kin(topic, other)]
    names = [Criterion("names", 2.0, topic=other) for other in near]
    names = [criterion for criterion in names if criterion.id not in asked]
    return [*random.sample(counts, mix.more), *random.sample(names, min(mix.more, len(names)))]


def _any_points(item: Item, random: Random) -> Criterion:
    fault = item in GENERIC_ITEMS or random.random() < 0.2
    return Criterion("item", float(-random.randint(2, 6) if fault else random.randint(1, 9)), item=item)


def _near(topic: Topic, random: Random) -> Topic:
    """Another topic, mostly with the same complaint or the same part."""
    kin = [other for other in TOPICS if _kin(topic, other)]
    return random.choice(kin if random.random() < 0.8 else [t for t in TOPICS if t != topic])


def _kin(topic: Topic, other: Topic) -> bool:
    """Returns whether they share the complaint or the part, but not both."""
    return (topic.complaint == other.complaint) != (topic.part == other.part)

"""Makes the tasks of the tiny policy, and scores its answers: rows, exact reward, the best single answer.

Five complaints at five parts of the body are the block. Its diagonal is held out: each of those topics' halves is met
in training, the topic itself never. Two of the six question wordings are kept for evaluation.

Guarantees: No row of one split is one of another. The reward is the exact oracle's, never a judge's.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, Literal, get_args

from miniature.world.cases import QUESTIONS
from miniature.world.clinic import COMPLAINTS, ITEMS, PARTS, TOPICS, Item, Topic, rubric
from miniature.world.oracle import reward
from miniature.world.responses import Response, Step, plain_text

Split = Literal["train", "trained", "held-out"]
SPLITS: tuple[Split, ...] = get_args(Split)
SIZE = 5
_KEPT = (3, 5)
MALFORMED: Mapping[str, Any] = {
    "id": "malformed",
    "text": "Has a malformed step.",
    "points": -8.0,
    "verifier": {"rule": "regex", "pattern": r"\b([A-Za-z]+) (?i:\1)\b|\d(?![.] )|\.\.|[a-z] [A-Z][a-z](?![\w ]*:)"},
}
"""A rule for what a judge may overlook: a word twice in a row, a number without one full stop, a capital letter within
a sentence. The truth has no need of it."""


@cache
def topics(split: Split) -> tuple[Topic, ...]:
    """`train` and `trained` are the same topics, asked about in different words."""
    block = product(enumerate(COMPLAINTS[:SIZE]), enumerate(PARTS[:SIZE]))
    return tuple(Topic(complaint, part) for (n, complaint), (m, part) in block if (n == m) == (split == "held-out"))


@cache
def known() -> tuple[Topic, ...]:
    """The topics that share neither complaint nor part with the block: what is right for them tells nothing of it."""
    return tuple(t for t in TOPICS if t.complaint not in COMPLAINTS[:SIZE] and t.part not in PARTS[:SIZE])


def rows(split: Split) -> list[dict[str, Any]]:
    """Items of the scoring request without their responses; every topic once before any comes again."""
    kept = [n for n in range(len(QUESTIONS)) if (n in _KEPT) == (split != "train")]
    return [_row(topic, n) for n in kept for topic in topics(split)]


def _row(topic: Topic, wording: int) -> dict[str, Any]:
    asked = QUESTIONS[wording].format(name=topic.name, part=topic.part, complaint=topic.complaint)
    return {
        "id": f"{topic.complaint}-{topic.part}-{wording}",
        "prompt": [{"role": "user", "content": asked}],
        "rubric": {"criteria": [{"id": c.id, "text": c.text, "points": c.points} for c in rubric(topic)]},
    }


def topic_of(row: str) -> Topic:
    """The topic of the row with this id. Raises ValueError for an id that no row has."""
    complaint, part, _ = row.split("-")
    topic = Topic(complaint, part)
    if topic not in TOPICS:
        raise ValueError(f"no row has the id {row!r}")
    return topic


def truth(topic: Topic, text: str) -> float:
    """The exact reward of the answer: points of the rubric's met criteria over the sum of the positive ones."""
    return reward(rubric(topic), text)


def best_constant(asked: Sequence[Topic], most: int) -> tuple[str, float]:
    """The best answer of at most `most` steps that is given to every topic alike, and its mean reward.

    Found greedily, a step at a time. Whoever does not know one topic from another can hope for this much, so a
    training's result says something only beside it.
    """
    named = max(({topic: _mean(asked, Response(topic, ())) for topic in asked}).items(), key=lambda one: one[1])[0]
    best = Response(named, ())
    while len(best.steps) < most:
        said = [step.item for step in best.steps]
        best = max(_longer(best, (item for item in ITEMS if item not in said)), key=lambda one: _mean(asked, one))
    return plain_text(best), _mean(asked, best)


def _longer(response: Response, items: Iterable[Item]) -> Iterable[Response]:
    return (Response(response.named, (*response.steps, Step(item))) for item in items)


def _mean(asked: Sequence[Topic], response: Response) -> float:
    text = plain_text(response)
    return sum(truth(topic, text) for topic in asked) / len(asked)

"""The exact oracle: what a response says, read from its text alone, and whether that meets a criterion.

It is the world's truth. A judge, or a reward of a judge, is measured against it.

Guarantees: Only text counts, never how it was made. Text that is not a phrase of the world is no step, so broken
fragments earn nothing. Wrong or repeated numbering is forgiven.
"""

import re
from functools import cache

from miniature.world.clinic import ITEMS, TOPICS, Criterion, Item, Topic
from miniature.world.responses import LEADS, NEGATIONS, ORDER, Response, Step

_BREAK = re.compile(r"\n|(?<=[.!?:;])\s+|\d+[.)]\s*")
_EDGES = " \t\r-*.!?:;,"


@cache
def _items() -> dict[str, Item]:
    return {phrase.lower(): item for item in ITEMS for phrase in item.phrases}


@cache
def _topics() -> tuple[tuple[re.Pattern[str], Topic], ...]:
    return tuple((re.compile(rf"\b{re.escape(topic.title)}\b"), topic) for topic in TOPICS)


def _before(template: str) -> str:
    return template.partition("{}")[0].lower()


_NEGATIONS = tuple(map(_before, NEGATIONS))
_LEADS = tuple(filter(None, map(_before, (*LEADS, *ORDER))))


def named(text: str) -> frozenset[Topic]:
    """The topics that the text names as the clinic does, wherever."""
    return frozenset(topic for pattern, topic in _topics() if pattern.search(text))


def steps(text: str) -> tuple[Step, ...]:
    """The pieces of advice in the text, in order, to do and not to do."""
    read = (_step(piece) for piece in _BREAK.split(text))
    return tuple(step for step in read if step is not None)


def pieces(text: str) -> tuple[tuple[int, Step | None], ...]:
    """The text's pieces in order: where each ends, and the advice in it, if it is one."""
    starts, ends = [0], []
    for gap in _BREAK.finditer(text):
        ends.append(gap.start())
        starts.append(gap.end())
    found = [
        (start + len(text[start:end].rstrip()), text[start:end])
        for start, end in zip(starts, [*ends, len(text)], strict=True)
    ]
    return tuple((end, _step(piece)) for end, piece in found if piece.strip())


def read(text: str) -> Response:
    """The text's structure, as far as one topic at most is named."""
    topics = named(text)
    return Response(named=next(iter(topics)) if len(topics) == 1 else None, steps=steps(text))


def met(criterion: Criterion, text: str) -> bool:
    """Returns whether the criterion is literally true of the response."""
    match criterion.kind:
        case "item":
            return any(step.item == criterion.item and not step.negated for step in steps(text))
        case "names":
            return criterion.topic in named(text)
        case "at_least":
            return len(steps(text)) >= criterion.number
        case "more_than":
            return len(steps(text)) > criterion.number


def reward(criteria: tuple[Criterion, ...], text: str) -> float:
    """Points of the met criteria over the sum of the positive points, unclipped."""
    positive = sum(criterion.points for criterion in criteria if criterion.points > 0)
    return sum(criterion.points for criterion in criteria if met(criterion, text)) / positive


def _step(piece: str) -> Step | None:
    words = piece.strip(_EDGES).lower()
    lead = next((lead for lead in _LEADS if words.startswith(lead)), "")
    # "you should not" begins like the lead "you should", so negations are tried on the whole piece.
    for start, negated in ((words, False), (words.removeprefix(lead), False), *_without_negation(words)):
        if start in _items():
            return Step(item=_items()[start], negated=negated)
    return None


def _without_negation(words: str) -> list[tuple[str, bool]]:
    bare = [words, *(words.removeprefix(lead) for lead in _LEADS if words.startswith(lead))]
    return [(one.removeprefix(no), True) for one in bare for no in _NEGATIONS if one.startswith(no)]

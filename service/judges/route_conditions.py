"""Decides which judge a criterion goes to: by its tag, and by the conversation's language and length. Pure.

Guarantees: the first route whose conditions are all fulfilled decides, else the default. The response plays no part, so
that all responses of a GRPO group have one judge for one criterion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.judges.language import language_of
from service.rubrics.rubric import Candidate, Criterion, Turn


@dataclass(frozen=True, slots=True)
class Condition:
    """A tag is `key:value`, or `key` with any value. `longer_than` is in characters of all turns. None is fulfilled by
    everything."""

    tag: str | None = None
    language: str | None = None
    longer_than: int | None = None

    @property
    def described(self) -> str:
        parts = {"tag": self.tag, "language": self.language, "longer_than": self.longer_than}
        return " and ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


@dataclass(frozen=True, slots=True)
class Conversation:
    language: str | None
    characters: int


def conversation_of(turns: Sequence[Turn], *, with_language: bool) -> Conversation:
    """The language is that of the user's turns, where there are any: instructions to a model are often English."""
    texts = [turn.content for turn in turns if turn.role == "user"] or [turn.content for turn in turns]
    language = language_of("\n".join(texts)) if with_language else None
    return Conversation(language, sum(len(turn.content) for turn in turns))


def route_of(conditions: Sequence[Condition], criterion: Criterion, conversation: Conversation) -> int:
    """The place of the first condition that is fulfilled; their number where none is."""
    for place, condition in enumerate(conditions):
        if _fulfilled(condition, criterion, conversation):
            return place
    return len(conditions)


def routes(conditions: Sequence[Condition], candidates: Sequence[Candidate]) -> list[list[int]]:
    """For each candidate the route of each of its criteria."""
    with_language = any(condition.language is not None for condition in conditions)
    known: dict[int, Conversation] = {}  # responses of one item share their turns
    found: list[list[int]] = []
    for candidate in candidates:
        conversation = known.get(id(candidate.turns))
        if conversation is None:
            conversation = known[id(candidate.turns)] = conversation_of(candidate.turns, with_language=with_language)
        found.append([route_of(conditions, criterion, conversation) for criterion in candidate.criteria])
    return found


def _fulfilled(condition: Condition, criterion: Criterion, conversation: Conversation) -> bool:
    if condition.tag is not None:
        key, has_value, value = condition.tag.partition(":")
        if key not in criterion.tags or (has_value and criterion.tags[key] != value):
            return False
    if condition.language is not None and condition.language != conversation.language:
        return False
    return condition.longer_than is None or conversation.characters > condition.longer_than

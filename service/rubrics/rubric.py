"""Holds rubrics and the candidates that are scored by them, as frozen values. Pure.

Guarantees: a criterion's `points` carry its sign (negative = a fault, 0 = monitored only) with any polarity override
applied, and its text is what the judge sees, without a category prefix.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Category = Literal["essential", "important", "optional", "pitfall"]
CATEGORIES: tuple[Category, ...] = ("essential", "important", "optional", "pitfall")


@dataclass(frozen=True, slots=True)
class Rule:
    """A verifier that decides by computing. `name` is one of WIRE's rules; `params` are its other fields."""

    name: str
    params: Mapping[str, Any]
    on_all: bool = False
    """In a trajectory: looks at all of the assistant's texts, not at the final one."""


@dataclass(frozen=True, slots=True)
class Option:
    """A level or a choice: what is true of a response on it, and the share of the points that it earns, in 0..1."""

    text: str
    value: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """The judge writes a value of `kind` by the instructions, and the rule looks at that value. `choices` are the
    values of kind `choice`."""

    kind: Literal["number", "integer", "string", "date", "choice", "list"]
    instructions: str
    rule: Rule
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Criterion:
    """`rule` decides it instead of the judge. `options` are its levels or choices where it is graded; `ordered` says
    that they are levels. `extraction` is how a value of the response is found that a rule decides about."""

    id: str
    text: str
    points: float
    category: Category | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    rule: Rule | None = None
    options: tuple[Option, ...] = ()
    ordered: bool = True
    extraction: Extraction | None = None

    @property
    def plain(self) -> bool:
        """Returns whether the judge says of it that it is met or not met."""
        return not self.options and self.extraction is None

    @property
    def graded(self) -> bool:
        return bool(self.options)

    @property
    def kind(self) -> str:
        """What the judge is asked for: a verdict, an option, or a value of some kind."""
        if self.extraction is not None:
            return self.extraction.kind
        return "option" if self.options else "verdict"

    @property
    def shown(self) -> tuple[str, ...]:
        """The texts of it that the judge reads. Where a value is extracted they are the instructions, since the text
        may say which value is right."""
        if self.extraction is not None:
            return (self.extraction.instructions, *self.extraction.choices)
        return (self.text, *(option.text for option in self.options))

    @property
    def counted(self) -> bool:
        return self.points != 0

    @property
    def wanted(self) -> bool:
        """Returns whether being met is good."""
        return self.points > 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. Its role is one of the wire's, or `CALL`: a call of a tool that the assistant makes, or `NAMED_TOOL`:
    what a tool says, behind its name, or `DOCUMENT`: what the judge alone reads, which stands behind all others."""

    role: str
    content: str


CALL = "assistant's call of a tool"
NAMED_TOOL = "tool, with its name"
DOCUMENT = "document that only you see, not the assistant"


def without_documents(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The conversation alone."""
    return tuple(turn for turn in turns if turn.role != DOCUMENT)


ReasoningFound = Literal["none", "kept", "removed", "unfinished", "no_answer"]
"""`kept`: the response begins with reasoning, which is judged. The others are about what was taken off: `unfinished`
reasoning did not come to its end, `no_answer` stands behind it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response with what it is scored by. `turns` is what comes before the response; `reasoning` says what
    was found in it. Of a trajectory `response` is the assistant's final text, empty where it ends without one."""

    id: str
    turns: tuple[Turn, ...]
    response: str
    criteria: tuple[Criterion, ...]
    reference: str | None = None
    group: str | None = None
    reasoning: ReasoningFound = "none"
    metadata: Mapping[str, Any] | None = None
    """The caller's own; nothing here reads it."""
    trajectory: tuple[Turn, ...] = ()

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts that the judge alone reads."""
        if not self.turns or self.turns[-1].role != DOCUMENT:
            return ()  # they are the last of the turns, and few candidates have any
        return tuple(turn.content for turn in self.turns if turn.role == DOCUMENT)

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts of the response that the judge reads."""
        return tuple(turn.content for turn in self.trajectory) if self.trajectory else (self.response,)

    def text_for(self, rule: Rule) -> str:
        """The text that a rule looks at: no tool's words."""
        return self.said if rule.on_all else self.response

    @property
    def said(self) -> str:
        """All of the assistant's texts, and no tool's words."""
        if not self.trajectory:
            return self.response
        return "\n\n".join(turn.content for turn in self.trajectory if turn.role == "assistant")

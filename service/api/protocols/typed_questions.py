"""Asks a judge of criteria typed questions: each option of a choice and each level of a score as its own predicate.

What the judge says of the options is divided by its sum, so that it is a distribution. Confidence is how far that is
from a uniform one, as System One defines it.

Guarantees: a question of which one option has no verdict has no answer. A predicate is asked in the caller's words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.api.bodies.parsing import invalid_at
from trainer_client import wire

Place = tuple[str | int, ...]

MOST_OPTIONS, LEAST_OPTIONS, MOST_LEVELS = 255, 2, 10


@dataclass(frozen=True, slots=True)
class TypedQuestion:
    """The predicates that stand for a question: one of its own, or one for each option, in their order."""

    predicates: tuple[str, ...]


def predicate(text: str, *place: str | int) -> TypedQuestion:
    """Raises InvalidRequest for a question that says nothing."""
    if not wire.says_something(text):
        raise invalid_at(*place, "a question must say something")
    return TypedQuestion((text,))


def options(instructions: str, described: Sequence[tuple[str, str]], *place: str | int) -> TypedQuestion:
    """A choice between named options with their descriptions, which may be empty. Raises InvalidRequest."""
    if not LEAST_OPTIONS <= len(described) <= MOST_OPTIONS:
        raise invalid_at(*place, f"a choice has {LEAST_OPTIONS} to {MOST_OPTIONS} options; this has {len(described)}")
    return TypedQuestion(tuple(_option(instructions, "answer", *one) for one in described))


def levels(instructions: str, described: Sequence[str], *place: str | int) -> TypedQuestion:
    """A score on levels, the lowest first. Raises InvalidRequest."""
    if not LEAST_OPTIONS <= len(described) <= MOST_LEVELS:
        raise invalid_at(*place, f"a score has {LEAST_OPTIONS} to {MOST_LEVELS} levels; this has {len(described)}")
    return TypedQuestion(tuple(_option(instructions, "level", str(at), text) for at, text in enumerate(described)))


def _option(instructions: str, kind: str, name: str, description: str) -> str:
    said = f"The {kind} is: {name}" + (f" ({description})" if wire.says_something(description) else "")
    return f"{instructions}\n{said}" if wire.says_something(instructions) else said


def rubrics(questions: Sequence[TypedQuestion], max_criteria: int) -> list[list[dict[str, Any]]]:
    """The predicates of all questions as rubrics of at most so many criteria."""
    asked = [{"text": text, "points": 1} for question in questions for text in question.predicates]
    return [asked[start : start + max_criteria] for start in range(0, len(asked), max_criteria)]


def answers(questions: Sequence[TypedQuestion], results: Sequence[wire.Result]) -> Iterator[tuple[float, ...] | None]:
    """P of each predicate of each question; None for a question of which one predicate has no verdict."""
    verdicts = (criterion for result in results for criterion in result.criteria)
    for question in questions:
        found = [next(verdicts) for _ in question.predicates]
        p = tuple(one.p for one in found if one.status == "ok" and one.p is not None)
        yield p if len(p) == len(found) else None


def distribution(p: Sequence[float]) -> tuple[float, ...] | None:
    """P of each option, in sum 1; None where the judge says that none of them is the answer."""
    total = sum(p)
    return tuple(one / total for one in p) if total > 0 else None


def choice_confidence(p: Sequence[float]) -> float:
    """0 for a uniform distribution, 1 for a certain one."""
    return (max(p) - 1 / len(p)) / (1 - 1 / len(p))


def score_confidence(p: Sequence[float]) -> float:
    """1 less the mean distance from the most likely level, in distances of a uniform distribution from its middle."""
    mode = p.index(max(p))
    middle = (len(p) - 1) / 2
    uniform = sum(abs(at - middle) for at in range(len(p))) / len(p)
    return max(0.0, 1 - sum(one * abs(at - mode) for at, one in enumerate(p)) / uniform)


def expected(p: Sequence[float]) -> float:
    """The expected level, the lowest being 0."""
    return sum(at * one for at, one in enumerate(p))

"""Asks a judge of criteria typed questions: a choice or a score as one criterion, or each option as its own predicate.

Both protocols want one distribution over options that exclude each other. A judge that reads options by their labels
gives it in one pass; of another one, each option is asked as a predicate, and what the judge says of them is divided by
its sum. Confidence is how far the distribution is from a uniform one, as System One defines it.

Guarantees: a question of which one option has no verdict has no answer. A predicate is asked in the caller's words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.api.bodies.parsing import invalid_at
from trainer_client import wire

Place = tuple[str | int, ...]

MOST_OPTIONS, LEAST_OPTIONS, MOST_LEVELS = 255, 2, 10
_UNSAID = "Which option is true of the response?"
"""What a question without instructions asks."""


@dataclass(frozen=True, slots=True)
class TypedQuestion:
    """The criteria that stand for a question: one with all options, where these are read `by_labels`, or a plain one
    for each option, in their order."""

    criteria: tuple[dict[str, Any], ...]
    by_labels: bool = False

    @property
    def reading(self) -> str:
        """How the options were read, as a reply says it."""
        return "labels" if self.by_labels else "predicates"


def predicate(text: str, *place: str | int) -> TypedQuestion:
    """Raises InvalidRequest for a question that says nothing."""
    if not wire.says_something(text):
        raise invalid_at(*place, "a question must say something")
    return _predicates([text])


def options(
    instructions: str, described: Sequence[tuple[str, str]], most_options: int, *place: str | int
) -> TypedQuestion:
    """A choice between named options with their descriptions, which may be empty. The judge tells `most_options` apart
    by their labels. Raises InvalidRequest."""
    if not LEAST_OPTIONS <= len(described) <= MOST_OPTIONS:
        raise invalid_at(*place, f"a choice has {LEAST_OPTIONS} to {MOST_OPTIONS} options; this has {len(described)}")
    texts = [f"{name}: {text}" if wire.says_something(text) else name for name, text in described]
    if len(texts) <= most_options and _differ(texts):
        return _by_labels(instructions, "choices", [(text, 0.0) for text in texts])
    return _predicates([_option(instructions, "answer", *one) for one in described])


def levels(instructions: str, described: Sequence[str], most_options: int, *place: str | int) -> TypedQuestion:
    """A score on levels, the lowest first, as `options`. Raises InvalidRequest."""
    if not LEAST_OPTIONS <= len(described) <= MOST_LEVELS:
        raise invalid_at(*place, f"a score has {LEAST_OPTIONS} to {MOST_LEVELS} levels; this has {len(described)}")
    if len(described) <= most_options and _differ(described):
        top = len(described) - 1
        return _by_labels(instructions, "levels", [(text, at / top) for at, text in enumerate(described)])
    return _predicates([_option(instructions, "level", str(at), text) for at, text in enumerate(described)])


def _by_labels(instructions: str, kind: str, valued: Sequence[tuple[str, float]]) -> TypedQuestion:
    """The values count for nothing here: a reply has the probabilities."""
    asked = instructions if wire.says_something(instructions) else _UNSAID
    listed = [{"text": text, "value": value} for text, value in valued]
    return TypedQuestion(({"text": asked, "points": 1, kind: listed},), by_labels=True)


def _predicates(texts: Sequence[str]) -> TypedQuestion:
    return TypedQuestion(tuple({"text": text, "points": 1} for text in texts))


def _differ(texts: Sequence[str]) -> bool:
    """Whether a judge can tell them apart: each says something, and no two say the same."""
    return len(set(texts)) == len(texts) and all(map(wire.says_something, texts))


def _option(instructions: str, kind: str, name: str, description: str) -> str:
    said = f"The {kind} is: {name}" + (f" ({description})" if wire.says_something(description) else "")
    return f"{instructions}\n{said}" if wire.says_something(instructions) else said


def rubrics(questions: Sequence[TypedQuestion], max_criteria: int) -> list[list[dict[str, Any]]]:
    """The criteria of all questions as rubrics of at most so many."""
    asked = [criterion for question in questions for criterion in question.criteria]
    return [asked[start : start + max_criteria] for start in range(0, len(asked), max_criteria)]


def answers(questions: Sequence[TypedQuestion], results: Sequence[wire.Result]) -> Iterator[tuple[float, ...] | None]:
    """P of each option of each question, or P of its one predicate; None for a question of which one criterion has no
    verdict."""
    verdicts = (criterion for result in results for criterion in result.criteria)
    for question in questions:
        found = [next(verdicts) for _ in question.criteria]
        if question.by_labels:
            [one] = found
            yield None if one.status != "ok" or one.p_levels is None else tuple(one.p_levels)
            continue
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

"""Holds questions to a judge whose answers are known, and the pairs of them that differ in the response alone. Pure.

Guarantees: both questions of a pair have the same conversation and the same criterion; the first one is met, the second
one is not.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from service.modes.comparison import shown
from service.modes.modes import Query
from service.rubrics.rubric import Candidate, Criterion, Option


@dataclass(frozen=True, slots=True)
class Question:
    """One criterion of a candidate, and whether the candidate meets it."""

    candidate: Candidate
    criterion: Criterion
    met: bool

    def with_options(self) -> "Iterator[Question]":
        """The criterion and the other one of its prompt as the options of one criterion, in both orders. The question
        is met where the first of the two is true: 1 is its value, and 0 the other's."""
        first, *others = (self.criterion, *(one for one in self.candidate.criteria if one.id != self.criterion.id))
        for other in others:
            options = Option(first.text, 1.0), Option(other.text, 0.0)
            for listed in (options, options[::-1]):
                graded = Criterion(first.id, "Which statement is true of the response?", 1.0, options=listed)
                yield replace(self, criterion=graded)

    @property
    def on_empty(self) -> bool:
        """Whether it asks of an empty response for something that is not there."""
        return not self.met and not self.candidate.response and not self.candidate.trajectory

    def query(self, mode: str) -> Query:
        """As the mode asks it. In modes `implicit` and `compare` the criterion is the whole rubric; mode `likert` sees
        none."""
        if mode in ("implicit", "compare"):
            return Query(replace(self.candidate, criteria=(self.criterion,)), None)
        if mode == "likert":
            return Query(replace(self.candidate, criteria=()), None)
        return Query(self.candidate, self.criterion)


Pair = tuple[int, int]
"""Places of two questions: the one that is met, and the one that is not."""


def pairs_of(questions: Sequence[Question]) -> list[Pair]:
    """Of criteria with options a pair is across the orders: what is met with its options in one order, and what is not
    with them in the other. So each question is in one pair, and the order alone is right in half of them."""
    asked: defaultdict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for place, one in enumerate(questions):
        options = one.criterion.options if one.met else one.criterion.options[::-1]
        met, unmet = asked[one.candidate.turns, one.candidate.reference, one.criterion.text, options]
        (met if one.met else unmet).append(place)
    return [(one, other) for met, unmet in asked.values() for one in met for other in unmet]


@dataclass(frozen=True, slots=True)
class Exam:
    """The built-in questions. Of the two criteria of a prompt the good response meets `WANTED` alone, and the poor one
    the other alone: a judge that looks at the response without the criterion, or at the criterion without the response,
    is right in no more than half of the pairs."""

    questions: tuple[Question, ...]

    def for_mode(self, mode: str) -> tuple[Question, ...]:
        """Mode `reasoned` writes a document a question, and gets fewer of them. Without a rubric there is a good and a
        poor response alone. Mode `compare` gets each pair in both orders. `levels`, which is how options are read by
        their labels, gets each response with both criteria of its prompt as options, in both orders."""
        if mode == "likert":
            return tuple(one for one in self.questions if one.criterion.id == WANTED)
        if mode == "compare":
            return tuple(_compared(self.questions))
        if mode == "levels":
            wanted = (one for one in self.questions if one.criterion.id == WANTED)
            return tuple(asked for one in wanted for asked in one.with_options())
        return self.questions[:WRITTEN] if mode == "reasoned" else self.questions


def _compared(questions: Sequence[Question]) -> Iterator[Question]:
    """Each pair in both orders: the response that is shown first is the better one, and is not. What a judge adds for
    the first place is in both answers, so that a pair is right where the judge prefers the better response."""
    for met, unmet in pairs_of(questions):
        better, worse = questions[met], questions[unmet]
        for first, second in ((better, worse), (worse, better)):
            yield replace(first, candidate=shown(first.candidate, second.candidate).candidate)


WANTED = "wanted"
WRITTEN = 48
"""Questions for mode `reasoned`: those of the first twelve prompts."""

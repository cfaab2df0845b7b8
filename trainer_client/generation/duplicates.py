"""Merges criteria of one rubric that say nearly the same, so that a generator's repetition does not weigh twice.

A text is read as a bag of word stems, without common words and without verbs of saying ("mentions", "recommends").
Two criteria are merged where the bag of one lies within the other's and Dice's coefficient, twice what they share by
what both have, reaches a threshold.

`rubricd lint` warns of more (`near_duplicate`): a warning may be wrong, and here nobody is asked.

Guarantees: criteria with other numbers, other negations or another sign stay apart, and so do two of which each has a
word that the other lacks, or in which two words have changed places, however alike they are: that word may be the other
drug, and who pays may be paid. Of those that are merged the one
that weighs more stays as it is, and the first of equals.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.lint.repetition import are_exchanged

THRESHOLD = 0.8
"""`docs/guide/generate.md` says on what it was measured."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\d+(?:[.,]\d+)*%?")
_LIST = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)
_COMMON = """
a an the of to in on at by for from with and or is are be been being was were it its this that these those as such
response answer assistant model user patient person should must may can will would has have had does do did their them
they he she his her who which when where there any also if clearly explicitly correctly appropriately about how way
"""
_SAYING = """
acknowledge address advise answer clarify comment communicate contain describe direct discuss emphasize emphasise
encourage explain express give highlight identify include indicate inform instruct list mention name note offer outline
point present provide recommend refer remind report say specify state stress suggest tell urge warn write written
"""
_NEGATIONS = """
no not never none neither nor without cannot avoid avoids avoiding fail fails failing omit omits omitting lack lacks
lacking
"""
_ENDINGS = (
    "ations",
    "ation",
    "ings",
    "ing",
    "ies",
    "ied",
    "ments",
    "ment",
    "ness",
    "ers",
    "er",
    "es",
    "ed",
    "ly",
    "s",
    "e",
    "y",
)
_LEAST_STEM = 3


@dataclass(frozen=True, slots=True)
class Merged:
    """A criterion that was left out, and the one that stands for it."""

    left_out: wire.Criterion
    kept: wire.Criterion
    similarity: float


@dataclass(frozen=True, slots=True)
class _Words:
    stems: Counter[str]
    order: tuple[str, ...]
    numbers: tuple[str, ...]
    negations: int


def merge(criteria: Sequence[wire.Criterion]) -> tuple[list[wire.Criterion], list[Merged]]:
    """The criteria without near repetitions, in order, and what was merged."""
    kept: list[wire.Criterion] = []
    merged: list[Merged] = []
    for one in criteria:
        alike = ((similarity(one, other), place) for place, other in enumerate(kept))
        best, place = max(alike, default=(0.0, -1))
        if best < THRESHOLD:
            kept.append(one)
        elif abs(one.points) > abs(kept[place].points):
            merged.append(Merged(kept[place], one, best))
            kept[place] = one
        else:
            merged.append(Merged(one, kept[place], best))
    return kept, merged


def similarity(first: wire.Criterion, second: wire.Criterion) -> float:
    """How alike two criteria are, from 0 to 1; 0 for those that must stay apart."""
    if (first.worth > 0) is not (second.worth > 0) or first.verifier != second.verifier:
        return 0.0
    one, other = _words(first.judged_text), _words(second.judged_text)
    if one.numbers != other.numbers or one.negations % 2 != other.negations % 2:
        return 0.0
    shared = one.stems & other.stems
    if shared not in (one.stems, other.stems):
        return 0.0
    if are_exchanged(one.order, other.order) and not _LIST.search(first.judged_text):
        return 0.0
    both = one.stems.total() + other.stems.total()
    return 2 * shared.total() / both if both else float(first.judged_text == second.judged_text)


def _words(text: str) -> _Words:
    stems: list[str] = []
    numbers, negations = [], 0
    for word in _WORD.findall(text.casefold().replace("\u2019", "'")):
        if word[0].isdigit():
            numbers.append(word)
        elif word.endswith("n't") or word in _NEGATION_WORDS:
            negations += 1
        elif word not in _COMMON_WORDS and _stem(word) not in _SAYING_STEMS:
            stems.append(_stem(word))
    return _Words(Counter(stems), tuple(stems), tuple(sorted(numbers)), negations)


def _stem(word: str) -> str:
    """The word without its ending: rough, but the same for the forms of most words."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word.removesuffix(ending)
    return word


_COMMON_WORDS = frozenset(_COMMON.split())
_SAYING_STEMS = frozenset(map(_stem, _SAYING.split()))
_NEGATION_WORDS = frozenset(_NEGATIONS.split())

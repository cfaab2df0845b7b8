"""Looks for criteria that say the same, or the opposite of each other. Pure.

Guarantees: texts with different numbers or names are never called the same. Of each criterion the first other one is
named.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer_client.lint import words
from trainer_client.lint.codes import Entry, Findings, Found

_ALIKE = 0.8
_FEWEST_WORDS = 3
_MOST_DIFFERENT = 4
_SHARP = words.listed(
    "befor after increas decreas more less high low left right first last hot cold start stop min max minimum maximum "
    "abov below longer shorter higher lower acut chronic systolic diastolic male female hyper hypo mild sever upper "
    "positiv negativ advantag disadvantag import export credit debit morning even"
)
"""Stems of words that turn what a text says into something else."""
_TAKEN = "so one takes back what the other gives"


@dataclass(frozen=True, slots=True)
class Said:
    """A criterion's text, reduced to what it is about. `negated` says whether it denies it."""

    same: str
    order: tuple[str, ...]
    content: frozenset[str]
    sharp: frozenset[str]
    negated: bool


_ADDRESSED = re.compile(
    r"\b(?:the|a)\s+(?:user|patient|reader)(?:'s)?\b|^\W*(?:the\s+)?(?:response|answer|assistant)\b", re.I
)
"""Who is told and who tells is the same in every criterion."""


def said(text: str) -> Said:
    # Texts that are not read to their end may differ where nobody looked.
    read = _ADDRESSED.sub(" ", text) if len(text) <= words.READ_CHARACTERS else ""
    every = words.of(read)
    order = tuple(words.stem(word) for word in every if word not in words.NEGATIONS and word not in words.STOP)
    content = frozenset(order) - {"see"}
    sharp = frozenset(word for word in content if any(map(str.isdigit, word)) or word in _SHARP)
    denials = sum(word in words.NEGATIONS for word in every)
    return Said(" ".join(text.casefold().split()).rstrip(".!; "), order, content, sharp, denials % 2 == 1)


def repetition(criteria: Sequence[Entry]) -> Findings:
    all_said = [said(one.text) for one in criteria]
    seen: dict[str, int] = {}
    for place, one in enumerate(criteria):
        first = seen.setdefault(all_said[place].same, place)
        if first != place and one.rule == criteria[first].rule:
            yield _same_text(one, criteria[first])
        elif first == place and one.rule is None:
            other = _nearest(all_said, criteria, place)
            if other is not None:
                yield _near(one, criteria[other], opposed=all_said[place].negated != all_said[other].negated)


def _same_text(one: Entry, first: Entry) -> Found:
    if one.counted and first.counted and one.wanted is not first.wanted:
        why = f"the criterion at index {first.place} has the same text and the opposite sign, {_TAKEN}"
        return Found(one.place, "contradiction", why, "remove one of them")
    why = f"the criterion at index {first.place} has the same text, so one thing counts twice"
    return Found(one.place, "duplicate_text", why, "merge them, and give the one the points that both should have")


def _near(one: Entry, other: Entry, *, opposed: bool) -> Found:
    against = one.counted and other.counted and one.wanted is not other.wanted
    if opposed and not against:
        why = (
            f"it is the opposite of the criterion at index {other.place}, and both have the same sign, so no response "
            "can do right by both"
        )
        return Found(one.place, "contradiction", why, "remove one of them, or turn its sign")
    if against and not opposed:
        why = f"it says nearly what the criterion at index {other.place} says, with the opposite sign, {_TAKEN}"
        return Found(one.place, "contradiction", why, "remove one of them")
    side = "the other side of" if opposed else "nearly the same as"
    why = f"it is {side} the criterion at index {other.place}, so one thing counts twice"
    return Found(one.place, "near_duplicate", why, "remove one of them, or say what is different")


def _nearest(all_said: Sequence[Said], criteria: Sequence[Entry], place: int) -> int | None:
    """The first earlier criterion that is about the same, if there is one."""
    own = all_said[place]
    if len(own.content) < _FEWEST_WORDS:
        return None
    return next(
        (n for n in range(place) if criteria[n].rule is None and about_the_same(own, all_said[n])),
        None,
    )


def about_the_same(one: Said, other: Said) -> bool:
    sizes = sorted((len(one.content), len(other.content)))
    if sizes[0] < _FEWEST_WORDS or sizes[0] < _ALIKE * sizes[1] or one.sharp != other.sharp:
        return False
    shared = len(one.content & other.content)
    alike = shared >= _ALIKE * (sum(sizes) - shared) and sum(sizes) - 2 * shared <= _MOST_DIFFERENT
    listed = any(f" {word} " in one.same for word in ("and", "or"))
    return alike and (listed or not are_exchanged(one.order, other.order))


def are_exchanged(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two words have changed places, as who pays and who is paid."""
    if len(one) != len(other):
        return False
    at = [n for n, (own, others) in enumerate(zip(one, other, strict=True)) if own != others]
    return len(at) == 2 and one[at[0]] == other[at[1]] and one[at[1]] == other[at[0]]

"""Names the options of a graded criterion by labels, and reads their probabilities from the labels'. Pure.

Up to as many options as there are letters are read in one pass: A, B, C. More have a letter and a digit each: A0, A1,
B0. The letters are read first and then, behind each letter, its digits, so that P(A1) = P(A) P(1 | A) exactly.

Guarantees: each option's probability is the judge's own, divided by what all options hold together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.base import LabelLogprobs
from service.errors import ConfigurationError
from service.modes.label_verdict import label_logprobs, label_mass
from service.rubrics.levels import LevelVerdict

LETTERS = tuple("ABCDEFGHIJKLMNOPQRST")
"""As many as an engine reports probabilities for at once: vLLM's limit is 20."""
DIGITS = tuple("0123456789")
FEWEST = 10
"""As many as a criterion may have levels: a judge with fewer labels reads none."""


@dataclass(frozen=True, slots=True)
class LevelLabels:
    """The labels of one place in a prompt: letters with their token ids, and the digits that may follow each of them,
    none where they are no tokens of their own there."""

    letter_ids: tuple[int, ...]
    digit_ids: tuple[int, ...]

    @property
    def most(self) -> int:
        """So many options can be told apart."""
        return max(len(self.letter_ids), len(self.letter_ids) * len(self.digit_ids))

    def in_two_steps(self, options: int) -> bool:
        return options > len(self.letter_ids)

    def names(self, options: int) -> tuple[str, ...]:
        if not self.in_two_steps(options):
            return LETTERS[:options]
        return tuple(f"{LETTERS[place // len(DIGITS)]}{place % len(DIGITS)}" for place in range(options))

    def first_ids(self, options: int) -> tuple[int, ...]:
        """The labels of the first pass."""
        return self.letter_ids[: -(-options // len(DIGITS)) if self.in_two_steps(options) else options]

    def digits_behind(self, letter: int, options: int) -> tuple[int, ...]:
        """The labels of the pass behind a letter: the last one may have fewer."""
        return self.digit_ids[: min(len(DIGITS), options - letter * len(DIGITS))]


def level_labels(
    letters: Sequence[tuple[int, ...] | None], with_digits: Sequence[tuple[int, ...] | None]
) -> LevelLabels:
    """From the ids that each letter adds, and each letter with each digit, None where it changes what stands before
    it. Raises ConfigurationError."""
    ids: list[int] = []
    for added in letters:
        if added is None or len(added) != 1 or added[0] in ids:
            break
        ids.append(added[0])
    if len(ids) < FEWEST:
        raise ConfigurationError(
            f"{len(ids)} of the letters from A on are single tokens of this judge; levels need {FEWEST} labels"
        )
    pairs = [added or () for added in with_digits[: len(ids) * len(DIGITS)]]
    digits = tuple(added[-1] for added in pairs[: len(DIGITS)] if added)
    expected = [(letter, digit) for letter in ids for digit in digits]
    if pairs != expected or len(set(digits)) != len(DIGITS):
        return LevelLabels(tuple(ids), ())
    return LevelLabels(tuple(ids), digits)


def read_levels(read: LabelLogprobs, options: int) -> LevelVerdict:
    """One pass over as many labels as there are options. Of two options each has P as a plain verdict's, so that it is
    the same number. Raises Unparseable."""
    logprobs = label_logprobs(read, options)
    mass = label_mass(logprobs)
    if options == 2:
        a, b = logprobs
        return LevelVerdict((_share(a, b), _share(b, a)), mass)
    most = max(logprobs)
    weights = [math.exp(logprob - most) for logprob in logprobs]
    total = math.fsum(weights)
    return LevelVerdict(tuple(weight / total for weight in weights), mass)


def read_levels_in_two(letters: LabelLogprobs, digits: Sequence[LabelLogprobs], options: int) -> LevelVerdict:
    """The first pass over the letters, and a pass over the digits behind each of them. The labels' mass is that of the
    options: what stands behind a letter without being a digit of it is none of it. Raises Unparseable."""
    firsts = label_logprobs(letters, len(digits))
    label_mass(firsts)
    joint: list[float] = []
    for place, (first, behind) in enumerate(zip(firsts, digits, strict=True)):
        seconds = label_logprobs(behind, min(len(DIGITS), options - place * len(DIGITS)))
        label_mass(seconds)
        joint += [first + second for second in seconds]
    return read_levels(LabelLogprobs(tuple(joint)), options)


def _share(own: float, other: float) -> float:
    return 1.0 / (1.0 + math.exp(min(other - own, 700.0)))

"""Computes a rating of 1 to 10 from the probabilities of its tokens. Pure.

Guarantees: the ten ratings' probabilities are the judge's own. Where its tokenizer writes "10" as "1" and "0", a second
label query after the "1" decides between the two instead of a guess: P(10) = P("1") P("0" | "1"), and P(1) is the part
of P("1") after which no digit follows.
"""

import math
from dataclasses import dataclass
from typing import Literal

from service.engine.base import LabelLogprobs
from service.errors import ConfigurationError, Unparseable
from service.modes.label_verdict import label_logprobs, label_mass
from service.prompting.renderer import Renderer

Norm = Literal["(r-1)/9", "r/10"]
RATINGS = tuple(range(1, 11))
_DIGITS = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class Scale:
    """The tokens of the ratings. `ten_id` is None where "10" is two tokens, and `digit_ids` are those of 0 to 9."""

    digit_ids: tuple[int, ...]
    ten_id: int | None

    @property
    def first_ids(self) -> tuple[int, ...]:
        """The labels of the first query: 1 to 9, and 10 where it has a token of its own."""
        return (*self.digit_ids[1:], *(() if self.ten_id is None else (self.ten_id,)))


@dataclass(frozen=True, slots=True)
class Rating:
    """`probabilities` of 1 to 10, which sum to one; `label_mass` is their share of the whole vocabulary's mass."""

    probabilities: tuple[float, ...]
    label_mass: float

    @property
    def expected(self) -> float:
        return math.fsum(r * p for r, p in zip(RATINGS, self.probabilities, strict=True))

    @property
    def most_likely(self) -> int:
        return max(RATINGS, key=lambda rating: self.probabilities[rating - 1])

    def normalised(self, norm: Norm) -> float:
        """The expected rating in 0..1 by (r-1)/9, or in 0.1..1 by r/10."""
        return (self.expected - 1) / 9 if norm == "(r-1)/9" else self.expected / 10


def find_scale(renderer: Renderer) -> Scale:
    """Returns the tokens of the ratings. Raises ConfigurationError where a digit is not one token after the prompt."""
    digits = renderer.label_ids(_DIGITS, settable=False)
    ten = renderer.ids_after("10")
    if len(ten) == 1 and ten[0] not in digits:
        return Scale(digits, ten[0])
    if ten == (digits[1], digits[0]):
        return Scale(digits, None)
    raise ConfigurationError("this judge's tokens for 1 to 10 are not distinct")


def read_rating(first: LabelLogprobs, after_one: LabelLogprobs | None) -> Rating:
    """`first` holds the scale's first labels; `after_one` the ten digits after a "1", where the scale asks for it.
    Raises Unparseable."""
    label_mass(first.logprobs)
    if after_one is None:
        masses = [math.exp(lp) for lp in label_logprobs(first, 10)]
    else:
        one, *others = (math.exp(lp) for lp in label_logprobs(first, 9))
        followed = label_mass(label_logprobs(after_one, 10))
        masses = [one * (1.0 - followed), *others, one * math.exp(after_one.logprobs[0])]
    total = math.fsum(masses)
    if total <= 0.0:
        raise Unparseable("the judge gives no rating any probability")
    return Rating(probabilities=tuple(mass / total for mass in masses), label_mass=min(total, 1.0))

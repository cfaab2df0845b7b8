"""Defines the arms of the study: the judging modes that can say which of two responses is better, and what is shown.

The study is that of Rubrics as Rewards (2507.17746, figure 3): Direct-Likert, Reference-Likert, RaR-Implicit and
RaR-Explicit; and beside them pairs that are compared in one prompt, in both orders.

Guarantees: an arm without rubric or reference is asked without it, also where the pair has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer_client.preferences.pairs import PreferencePair

AskMode = Literal["verdict", "implicit", "likert", "compare"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What the judge is asked: the mode, and what of the pair it sees besides prompt and response."""

    mode: AskMode
    rubric: bool = False
    reference: bool = False

    def fits(self, pair: PreferencePair) -> bool:
        """Whether the pair has what is to be shown."""
        return not (self.rubric and pair.rubric is None) and not (self.reference and pair.reference is None)

    @property
    def name(self) -> str:
        shown = [word for word, is_shown in (("rubric", self.rubric), ("reference", self.reference)) if is_shown]
        return "+".join((self.mode, *shown))


@dataclass(frozen=True, slots=True)
class Arm:
    """A judging mode, and which number of its answer orders the responses. `without` is the arm that differs in one
    thing alone, which is taken away, and against which this one is set."""

    name: str
    ask: Ask
    reads: Literal["hard", "soft", "rating", "p"]
    about: str
    without: tuple[str, ...] = ()


_RUBRIC, _BOTH = {"rubric": True}, {"rubric": True, "reference": True}
ARMS: tuple[Arm, ...] = (
    Arm("likert", Ask("likert"), "rating", "one rating, without rubric"),
    Arm("likert+reference", Ask("likert", reference=True), "rating", "one rating against the reference", ("likert",)),
    Arm("implicit", Ask("implicit", **_RUBRIC), "rating", "one rating by the whole rubric", ("likert",)),
    Arm(
        "implicit+reference",
        Ask("implicit", **_BOTH),
        "rating",
        "one rating by the whole rubric, with the reference",
        ("implicit", "likert+reference"),
    ),
    Arm("explicit-hard", Ask("verdict", **_RUBRIC), "hard", "points of the criteria that are met", ("likert",)),
    Arm(
        "explicit-soft",
        Ask("verdict", **_RUBRIC),
        "soft",
        "points of the criteria, each times its P(met)",
        ("explicit-hard", "likert"),
    ),
    Arm(
        "explicit-hard+reference",
        Ask("verdict", **_BOTH),
        "hard",
        "points of the criteria that are met, with the reference",
        ("explicit-hard",),
    ),
    Arm(
        "explicit-soft+reference",
        Ask("verdict", **_BOTH),
        "soft",
        "points of the criteria, each times its P(met), with the reference",
        ("explicit-soft",),
    ),
    Arm("compare", Ask("compare"), "p", "both responses in one prompt, in both orders", ("likert",)),
    Arm(
        "compare+reference", Ask("compare", reference=True), "p", "both in one prompt, with the reference", ("compare",)
    ),
    Arm("compare+rubric", Ask("compare", **_RUBRIC), "p", "both in one prompt, with the rubric", ("compare",)),
    Arm(
        "compare+rubric+reference",
        Ask("compare", **_BOTH),
        "p",
        "both in one prompt, with rubric and reference",
        ("compare+rubric", "compare+reference"),
    ),
)
NAMES = tuple(arm.name for arm in ARMS)


def arms_for(pairs: Sequence[PreferencePair], chosen: Sequence[str]) -> list[Arm]:
    """The chosen arms, or all, that at least one pair has what it takes for."""
    wanted = [arm for arm in ARMS if not chosen or arm.name in chosen]
    return [arm for arm in wanted if any(arm.ask.fits(pair) for pair in pairs)]


def asks_of(arms: Sequence[Arm]) -> list[Ask]:
    """What is to be asked for them, each once: hard and soft read the same answer."""
    return list(dict.fromkeys(arm.ask for arm in arms))

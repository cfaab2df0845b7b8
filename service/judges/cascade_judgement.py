"""Says which verdicts of a judge in a cascade stand, and makes the judgement of a criterion that went on. Pure.

Guarantees: what the last judge says stands, also where it gives no verdict: an unsure verdict before it takes its place
never.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion

ANSWERED = frozenset({"abstained", "too_long", "unparseable"})
"""Without a verdict, and yet what the judge says: the plan counts them as passed on, too."""

Said = tuple[str, Judgement]


@dataclass(frozen=True, slots=True)
class Band:
    """The values of P(met), both ends among them, at which a judge is unsure."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Step:
    """A judge of the cascade, in the way in which the plan asks it. Without a `band` each of its verdicts stands."""

    fingerprint: str
    mode: str
    layout: str
    prompt: str | None
    band: Band | None


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """`digest` names the labels. `promise` is in words."""

    steps: tuple[Step, ...]
    digest: str
    promise: str


def stands(judgement: Judgement, criterion: Criterion, band: Band | None, *, passes_failures: bool) -> bool:
    """Whether nobody else is asked. No plan was made for graded criteria and for extracted values, which have no
    P(met)."""
    if not judgement.ok:
        return not (passes_failures or judgement.status in ANSWERED)
    if not criterion.plain:
        return False
    if band is None:
        return True
    return judgement.p is not None and not band.low <= judgement.p <= band.high


def decided(said: Sequence[Said], not_asked: Sequence[str] = ()) -> Judgement:
    """Of those that were asked, in their order, the last one decides. A judge before it that failed is missing, as one
    that could not be asked at all; one that answered without a verdict has done its part."""
    last = said[-1][1]
    failed = [name for name, one in said[:-1] if not one.ok and one.status not in ANSWERED]
    return replace(last, members=tuple(said), missing=(*not_asked, *failed, *last.missing))

"""Criteria, verdicts and aggregations to score by, written by hand and drawn at random."""

import sys
from collections.abc import Sequence
from typing import get_args

from hypothesis import strategies as st

from service.rubrics.aggregation import Score, Unjudged, aggregate
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import CATEGORIES, Category, Criterion
from trainer_client import wire
from trainer_client.formulas import AGGREGATIONS, Aggregation

RULES: tuple[Unjudged, ...] = get_args(wire.Unjudged)
UNJUDGED = Judgement(status="timeout", source="judge")


def judged(met: bool, p: float | None = None) -> Judgement:
    return Judgement(status="ok", source="judge", met=met, p=p)


def criterion(points: float, category: Category | None = None, **tags: str) -> Criterion:
    return Criterion(id="0", text="t", points=points, category=category, tags=tags)


def score(
    chosen: str | Aggregation,
    *pairs: tuple[float, float | None],
    soft: bool = False,
    min_coverage: float = 1.0,
    unjudged: Unjudged | None = None,
) -> Score:
    """Of (points, value): value None is unjudged, and one below 1 is P(met) with a threshold of a half."""
    return aggregate(
        Aggregation(chosen) if isinstance(chosen, str) else chosen,
        [criterion(points) for points, _ in pairs],
        [UNJUDGED if value is None else judged(value >= 0.5, value) for _, value in pairs],
        soft=soft,
        min_coverage=min_coverage,
        unjudged=unjudged,
    )


# Properties. A case is a rubric and, for each criterion, P(met) with a verdict at a threshold of a half, or None.
POINTS = st.one_of(
    st.integers(-10, 10).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, -1e308, sys.float_info.max, 5e-324, -5e-324, 0.0, -0.0]),
)
TAGS = st.sampled_from([None, "a", "b"])
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1))
Case = tuple[list[Criterion], list[Judgement]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    points = draw(st.lists(POINTS, min_size=1, max_size=7))
    categorised = draw(st.booleans())
    rubric, judgements = [], []
    for number in points:
        tag = draw(TAGS)
        category = draw(st.sampled_from(CATEGORIES)) if categorised else None
        rubric.append(criterion(number, category, **({} if tag is None else {"kind": tag})))
        value = draw(VALUES)
        judgements.append(UNJUDGED if value is None else judged(value >= 0.5, value))
    return rubric, judgements


WEIGHTS = st.floats(1e-6, 1e6)


@st.composite
def aggregations(draw: st.DrawFn, names: Sequence[str] = AGGREGATIONS) -> Aggregation:
    """Every formula, with options of every kind that it takes."""
    return Aggregation(
        draw(st.sampled_from(names)),
        category_weights={category: draw(WEIGHTS) for category in CATEGORIES},
        tag=draw(st.sampled_from(["kind", "category", "other"])),
        tag_value=draw(st.sampled_from([None, "a", "essential"])),
        cap=draw(st.floats(1e-3, 1)),
        half_saturation=draw(WEIGHTS),
    )

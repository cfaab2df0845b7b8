"""Scores and bounds of the formulas that look at tags, against plain floats over every completion of the verdicts."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from service.rubrics.aggregation import aggregate
from tests.service.rubrics.cases import UNJUDGED, criterion, judged
from trainer_client.formulas import Aggregation

RUBRICS = 400


@dataclass(frozen=True)
class Plain:
    """One criterion: its points, the value of its tag, and whether it is met; None is unjudged."""

    points: int
    tag: str | None
    met: bool | None

    @property
    def good(self) -> float:
        return float(self.met is (self.points > 0))


def _mean(marks: Sequence[Plain]) -> float:
    return sum(abs(one.points) * one.good for one in marks) / sum(abs(one.points) for one in marks)


def _dimensions(marks: Sequence[Plain]) -> list[list[Plain]]:
    tags = sorted({one.tag for one in marks if one.tag is not None})
    return [[one for one in marks if one.tag == tag] for tag in tags] + [[one] for one in marks if one.tag is None]


def _over_dimensions(marks: Sequence[Plain], own: Callable[[Sequence[Plain]], float]) -> float:
    weighed = [(sum(abs(one.points) for one in members), own(members)) for members in _dimensions(marks)]
    return sum(weight * value for weight, value in weighed) / sum(weight for weight, _ in weighed)


def _veto(marks: Sequence[Plain]) -> float:
    return 0.0 if any(one.tag == "a" and not one.good for one in marks) else _mean(marks)


def _factual_gate(marks: Sequence[Plain]) -> float:
    facts = [one.good for one in marks if one.tag == "a"]
    return 1.0 if facts and all(facts) else _mean(marks)


EXPECTED: dict[str, Callable[[Sequence[Plain]], float]] = {
    "conjunctive": lambda marks: _over_dimensions(marks, lambda own: math.prod(one.good for one in own)),
    "factual_gate": _factual_gate,
    "veto": _veto,
    "caps": lambda marks: _over_dimensions(marks, lambda own: min(_mean(own) / 0.6, 1.0)),
    "saturation": lambda marks: _over_dimensions(marks, lambda own: 1.3 * _mean(own) / (_mean(own) + 0.3)),
}


def _rubric(random: Random) -> list[Plain]:
    verdicts = (True, False, None)
    return [
        Plain(random.choice((-8, -3, -1, 1, 2, 5, 10)), random.choice((None, "a", "b")), random.choice(verdicts))
        for _ in range(random.randint(1, 7))
    ]


@pytest.mark.parametrize("name", EXPECTED)
def test_bounds_are_the_worst_and_the_best_completion(name: str) -> None:
    random = Random(name)
    chosen = Aggregation(name, tag="t", tag_value="a", cap=0.6, half_saturation=0.3)
    for _ in range(RUBRICS):
        plain = _rubric(random)
        rubric = [criterion(one.points, None, **({} if one.tag is None else {"t": one.tag})) for one in plain]
        found = aggregate(chosen, rubric, [UNJUDGED if one.met is None else judged(one.met) for one in plain])
        choices = [(True, False) if one.met is None else (one.met,) for one in plain]
        values = [
            EXPECTED[name]([Plain(one.points, one.tag, met) for one, met in zip(plain, completion, strict=True)])
            for completion in itertools.product(*choices)
        ]
        assert found.bounds == pytest.approx((min(values), max(values)), abs=1e-12), plain
        assert found.value == (found.bounds[0] if len(values) == 1 and found.bounds is not None else None)

"""Formulas of plain marks: their names, their options, and that a better mark never lowers a score."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from trainer_client import wire
from trainer_client.formulas import AGGREGATIONS, RAR_WEIGHTS, Aggregation, Mark, exact, rounded

NAMES = get_args(wire.AggregationName)


@dataclass(frozen=True)
class Criterion:
    category: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def test_the_names_are_those_of_the_wire_and_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/guide/aggregations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(AGGREGATIONS)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-7, 1e7, math.inf, math.nan])
def test_a_category_weight_is_a_number_of_sensible_size(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Aggregation("rar_explicit", category_weights={**RAR_WEIGHTS, "optional": weight})


@pytest.mark.parametrize("option", [{"cap": 0.0}, {"cap": 1.1}, {"cap": math.nan}, {"half_saturation": 0.0}])
def test_an_option_is_a_number_of_sensible_size(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cap"):
        Aggregation("caps", **option)  # type: ignore[arg-type]


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="known: healthbench, "):
        Aggregation("median")


def test_the_defaults_of_the_wire_are_a_formula_for_every_name() -> None:
    assert [Aggregation(**wire.aggregation_options(name)).name for name in NAMES] == list(AGGREGATIONS)


def _drawn(rng: random.Random) -> Mark[Criterion]:
    value = exact(rng.choice([0, 1, rng.randrange(9) / 8]))
    tags: dict[str, str] = rng.choice([{}, {"dimension": rng.choice("ab")}, {"kind": "factual"}])
    points = exact(rng.choice([1, 5, -3, 0.1, 1e6, -1e-6]))
    return Mark(Criterion(rng.choice(list(RAR_WEIGHTS)), tags), points, value, value >= 0.5)


def _better(mark: Mark[Criterion]) -> Mark[Criterion]:
    value = int(mark.points > 0)
    return replace(mark, value=value, met=bool(value))


def test_in_2000_rubrics_a_criterion_that_does_better_never_lowers_a_score() -> None:
    rng, wrong, moved = random.Random(5), 0, 0
    for _ in range(2000):
        marks = [_drawn(rng) for _ in range(rng.randint(1, 8))]
        which = rng.randrange(len(marks))
        better = [_better(mark) if n == which else mark for n, mark in enumerate(marks)]
        chosen = Aggregation(**wire.aggregation_options(rng.choice(NAMES)))
        wrong += chosen.of(better) < chosen.of(marks)
        moved += chosen.of(better) > chosen.of(marks)
    assert wrong == 0
    assert moved > 300


@pytest.mark.parametrize(("number", "expected"), [(exact(0.1), 0.1), (10**400, 1.7976931348623157e308)])
def test_a_number_that_no_float_holds_is_the_largest(number: Any, expected: float) -> None:
    assert (rounded(number), rounded(-number)) == (expected, -expected)

"""The client's scores are the service's, bit by bit."""

import math
import random
from typing import Any, get_args

import pytest

from service.api import translate
from service.rubrics.aggregation import aggregate
from service.rubrics.judgement import Judgement
from service.rubrics.levels import judged_level
from trainer_client import wire
from trainer_client.rescoring.formula import Counted, Formula, Ruling

NAMES = get_args(wire.AggregationName)


def drawn_rubric(rng: random.Random) -> wire.Rubric:
    all_categories = rng.random() < 0.5
    return wire.Rubric.model_validate(
        [
            {
                "text": f"c{n}",
                "points": rng.choice([1, 5, -3, 0, 0.1, -2.5, 1e6, 1e-6, -1e-6]),
                "tags": {
                    "polarity": "x",
                    **({"category": rng.choice(wire.CATEGORIES)} if all_categories else {}),
                    **rng.choice([{}, {"dimension": rng.choice("ab")}, {"kind": "factual"}, {"veto": "yes"}]),
                },
                "polarity": rng.choice([None, "positive", "negative"]),
                **drawn_options(rng),
            }
            for n in range(rng.randint(1, 8))
        ]
    )


def drawn_options(rng: random.Random) -> dict[str, Any]:
    """Of one criterion in three."""
    size = rng.choice([0, 0, 0, 0, 2, 4])
    values = [rng.choice([0, 0.1, 0.3, 0.5, 0.9, 1]) for _ in range(size)]
    return {"choices": [{"text": f"o{at}", "value": value} for at, value in enumerate(values)]} if size else {}


def drawn_levels(rng: random.Random, size: int) -> tuple[float, ...]:
    weights = rng.choice([[rng.random() for _ in range(size)], [1.0] * size, [1.0, *[0.0] * (size - 1)]])
    return tuple(weight / math.fsum(weights) for weight in weights)


def drawn_aggregation(rng: random.Random) -> Any:
    name = rng.choice(NAMES)
    known: dict[str, dict[str, Any]] = {
        "rar_explicit": {"category_weights": {"pitfall": 0.8, "essential": 3}},
        "caps": {"cap": 0.3, "tag": "kind"},
        "saturation": {"half_saturation": 0.7, "tag": "category"},
        "veto": {"tag": "kind", "tag_value": "factual"},
        "factual_gate": {"tag": "category", "tag_value": "essential"},
        "conjunctive": {"tag": "category"},
    }
    return name if rng.random() < 0.5 else {"name": name, **known.get(name, {})}


def test_of_2000_random_scores_none_differs_from_the_services() -> None:
    rng, wrong, scored = random.Random(17), 0, 0
    for _ in range(2000):
        rubric = drawn_rubric(rng)
        threshold = rng.choice([0.5, 0.3, 0.9])
        judgements, rulings = list[Judgement](), list[Ruling | None]()
        criteria = translate.criteria(rubric, "met_is_bad")
        for criterion in criteria:
            kind, p = rng.choice(["judge", "judge", "rule", "none"]), rng.choice([rng.random(), threshold, 0.0, 1.0])
            if criterion.graded and kind != "none":
                p_levels = drawn_levels(rng, len(criterion.options))
                judgements.append(judged_level(p_levels, criterion.options, threshold=threshold, source="judge"))
                rulings.append(Ruling(rng.random() < 0.5, p, p_levels))  # by another threshold and other values
            elif kind == "judge":
                judgements.append(Judgement("ok", "judge", met=p >= threshold, p=p))
                rulings.append(Ruling(not p >= threshold, p))  # the logged verdict was by another threshold
            elif kind == "rule":
                judgements.append(Judgement("ok", "rule", met=p >= 0.5))
                rulings.append(Ruling(p >= 0.5))
            else:
                judgements.append(Judgement("timeout", "judge"))
                rulings.append(rng.choice([None, Ruling(None)]))
        options: Any = {
            "soft": rng.random() < 0.5,
            "min_coverage": rng.choice([1.0, 0.5, 0.0]),
            "unjudged": rng.choice([None, "lower", "middle"]),
        }
        request = wire.ScoreRequest.model_validate(
            {"items": [{"prompt": "p", "response": "r", "rubric": rubric}], "aggregation": drawn_aggregation(rng)}
            | {"pitfalls": "met_is_bad"}
        )
        chosen = translate.aggregation(request.aggregation)
        expected = aggregate(chosen, criteria, judgements, threshold=threshold, **options).value
        formula = Formula(aggregation=request.aggregation, threshold=threshold, **options)
        score = formula.score([Counted.of(one) for one in rubric.criteria], rulings)
        scored += score is not None
        same = score == expected and (score is None or math.copysign(1, score) == math.copysign(1, expected or 0.0))
        wrong += not same
    assert wrong == 0
    assert scored > 800


def test_a_category_that_is_missing_in_part_is_refused_as_the_service_refuses_it() -> None:
    criteria = [Counted(1, "essential"), Counted(1)]
    with pytest.raises(ValueError, match="rar_explicit"):
        Formula("rar_explicit").score(criteria, [Ruling(True), Ruling(True)])
    assert Formula("rar_explicit").score([Counted(1), Counted(0, "essential")], [Ruling(True), None]) == 1.0

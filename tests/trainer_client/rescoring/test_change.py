"""What a log's verdicts give under other settings, and that under the same ones they give the logged score."""

import json
import random
from pathlib import Path
from typing import Any, get_args

import pytest

from testkit.apps import serving
from testkit.calibrations import calibration
from tests.trainer_client.rescoring.logs import RUBRIC, line, verdict, written
from trainer_client import wire
from trainer_client.cli import results_file
from trainer_client.client import Scored
from trainer_client.errors import DataError
from trainer_client.rescoring.change import Change, calibrated, chosen, criteria_of
from trainer_client.rescoring.formula import Formula
from trainer_client.rollouts import read

BROKEN = {"rule": "regex", "pattern": "("}
PLAIN = Change(Formula(), Formula())
LEVELS = [{"text": "says nothing", "value": 0}, {"text": "names it", "value": 1}]


async def test_of_300_logged_scores_of_the_service_every_one_is_given_again_exactly(tmp_path: Path) -> None:
    rng, wrong, scored = random.Random(23), 0, 0
    async with serving() as client:
        for n in range(300):
            rubric = [
                {
                    "text": f"Says {k} of {n}.",
                    "points": rng.choice([5, -3, 0.1, 2.5, 0]),
                    "category": rng.choice(["essential", "important", "optional"]),
                    "verifier": rng.choice([None] * 8 + [{"rule": "contains", "text": "Rest"}] * 2 + [BROKEN]),
                }
                for k in range(rng.randint(1, 5))
            ]
            options: dict[str, Any] = {
                "aggregation": rng.choice(get_args(wire.AggregationName)),
                "soft": rng.random() < 0.5,
                "threshold": rng.choice([0.5, 0.3, 0.8]),
                "min_coverage": rng.choice([1.0, 0.2]),
                "unjudged": rng.choice([None, "lower", "middle"]),
            }
            item = {"prompt": "Knee?", "response": f"Rest {n}.", "rubric": rubric}
            answer = (await client.post("/v1/score", json={"items": [item], **options})).json()
            said = wire.ScoreResponse.model_validate(answer)
            told = results_file.line(0, Scored(said.results[0], said.judge), "d", wire.Item.model_validate(item), 0)
            file = tmp_path / "log.results.jsonl"
            file.write_text(json.dumps(told) + "\n")
            (rollout,) = read(file)
            formula = Formula(**options)
            again = Change(formula, formula).of(rollout)
            wrong += not again.logged == again.before.score == again.after.score
            scored += again.logged is not None
    assert wrong == 0
    assert scored > 200


def test_a_threshold_and_a_formula_change_scores_as_by_hand(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [line("a", "x", [0.9, 0.6, 0.4])])
    assert PLAIN.of(rollout).after.score == (5 - 3) / 7
    strict = Change(Formula(), Formula(threshold=0.7)).of(rollout)
    assert (strict.before.score, strict.after.score) == (2 / 7, 5 / 7)
    assert Change(Formula(), Formula("mean")).of(rollout).after.score == pytest.approx(1 / 3)
    soft = Change(Formula(), Formula(soft=True)).of(rollout).after.score
    assert soft == pytest.approx((5 * 0.9 - 3 * 0.6 + 2 * 0.4) / 7)


def test_a_missing_verdict_is_no_score_and_no_zero(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [line("a", "x", [0.9, None, 0.4])])
    assert PLAIN.of(rollout).after.score is None
    lower = Change(Formula(), Formula(min_coverage=0.5, unjudged="lower"))
    assert lower.of(rollout).after.score == 2 / 7


def test_another_rubric_uses_the_verdicts_on_texts_that_it_shares(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [line("a", "x", [0.9, 0.6, 0.4])])
    rubric = wire.Rubric.model_validate([{"text": "Lies.", "points": -1, "id": "z"}, {"text": "Is kind.", "points": 1}])
    change = Change(Formula(), Formula(), lambda _: rubric)
    assert change.of(rollout).after.score == 0.0
    rule = {"rule": "contains", "text": "kind"}
    for new in ({"text": "New."}, {"text": "Lies.", "verifier": rule}, {"text": "Lies.", "levels": LEVELS}):
        rubric = wire.Rubric.model_validate([{"text": "Is kind.", "points": 1}, {"points": 1, **new}])
        assert change.of(rollout).after.score is None


def test_a_calibration_changes_what_the_judge_said_and_no_rule(tmp_path: Path) -> None:
    made = calibration("judge-1")
    steep = made.model_copy(
        update={"curves": (wire.CalibrationCurve(curve=wire.Line(slope=1.0, offset=-2.0)),), "prior": None}
    )
    lines = [line("a", "x", [0.9, 0.6, 0.4])]
    lines[0]["criteria"][1] = verdict(1, 1.0, source="rule")
    (rollout,) = written(tmp_path / "log.jsonl", lines)
    rescored = Change(Formula(), Formula(), calibration=steep).of(rollout)
    first, rule, last = rescored.after.rulings
    assert first is not None and rule is not None and last is not None
    assert first.p == pytest.approx(0.9 / (0.9 + 0.1 * 2.718281828459045**2))
    assert (rule.met, rule.p) == (True, None)
    unknown = rollout.criteria[0].__class__(**{**_fields(rollout.criteria[0]), "p_raw": None})
    assert calibrated(steep, criteria_of(rollout)[0], unknown) is None
    assert chosen([steep], set(), "c.json") is steep
    with pytest.raises(DataError, match="none of its calibrations"):
        chosen([steep, steep.model_copy(update={"judge": "other"})], {"judge-9"}, "c.json")
    prior = wire.CalibrationCurve(curve=wire.Line(prior_weight=0.5))
    with pytest.raises(DataError, match="a log does not hold"):
        chosen([steep.model_copy(update={"curves": (prior,)})], set(), "c.json")


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_a_rating_and_a_log_without_criteria_are_refused(tmp_path: Path) -> None:
    rated = {**line("a", "x", [0.9, 0.6, 0.4]), "criteria": [{"id": "rating", "status": "ok", "met": None}]}
    (rollout,) = written(tmp_path / "log.jsonl", [rated])
    with pytest.raises(DataError, match="rated as a whole"):
        PLAIN.of(rollout)
    bare = line("a", "x", [0.9, 0.6, 0.4])
    bare["criteria"] = []
    del bare["item"]["rubric"]
    (rollout,) = written(tmp_path / "log.jsonl", [bare])
    with pytest.raises(DataError, match="neither a rubric nor verdicts"):
        PLAIN.of(rollout)
    assert RUBRIC

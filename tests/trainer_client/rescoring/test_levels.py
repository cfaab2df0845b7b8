"""Logged levels, choices and extracted values under other settings: bit-equal to the service that gave them."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from testkit.apps import fake_settings, serving
from testkit.calibrations import calibration
from tests.trainer_client.rescoring.logs import LEVELS, Json, line, verdict, written
from trainer_client import wire
from trainer_client.cli import results_file
from trainer_client.client import Scored
from trainer_client.errors import DataError
from trainer_client.rescoring.change import Change, chosen, chosen_levels
from trainer_client.rescoring.comparison import compare
from trainer_client.rescoring.formula import Counted, Formula, Ruling
from trainer_client.rescoring.rescored_rollouts import rescored_rollouts
from trainer_client.rollouts import Rollout, read

PLAIN = Change(Formula(), Formula())
BROKEN = {"rule": "regex", "pattern": "("}
RUNS = 150


def drawn(rng: random.Random, n: int, k: int) -> Json:
    """A criterion of any kind. Values and points are drawn, and texts are the place's, so that another draw for the
    same place and kind is the same question."""
    kind = rng.choice(["levels", "levels", "choices", "plain", "rule"])
    size = rng.choice([2, 3, 5]) if kind == "levels" else rng.choice([2, 3, 4])
    return _valued(rng, kind, size, f"Says {k} of {n}.")


def _valued(rng: random.Random, kind: str, size: int, text: str) -> Json:
    found: Json = {
        "text": text,
        "points": rng.choice([5, -3, 0.1, 2.5, 0]),
        "category": rng.choice(["essential", "important", "optional"]),
    }
    if kind == "rule":
        found["verifier"] = BROKEN if text.startswith("Says 1") else {"rule": "contains", "text": "Rest"}
    if kind in ("levels", "choices"):
        values = [rng.choice([0, 0.1, 0.3, 0.5, 0.7, 1]) for _ in range(size)]
        if kind == "levels":
            values = sorted(rng.sample([0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 1], size), reverse=rng.random() < 0.5)
        found[kind] = [{"text": f"{size} options, {at}", "value": value} for at, value in enumerate(values)]
    return found


def other_values(rng: random.Random, criterion: Json) -> Json:
    kind = next((one for one in ("levels", "choices") if one in criterion), "rule" if "verifier" in criterion else "")
    return _valued(rng, kind, len(criterion.get(kind, ())) if kind in criterion else 0, criterion["text"])


def always(rubric: wire.Rubric) -> Callable[[Rollout], wire.Rubric]:
    return lambda _: rubric


def options(rng: random.Random) -> dict[str, Any]:
    return {
        "aggregation": rng.choice(get_args(wire.AggregationName)),
        "soft": rng.random() < 0.5,
        "threshold": rng.choice([0.5, 0.3, 0.8]),
        "min_coverage": rng.choice([1.0, 0.2]),
        "unjudged": rng.choice([None, "lower", "middle"]),
    }


async def asked(client: httpx.AsyncClient, item: Json, **more: Any) -> wire.ScoreResponse:
    answer = await client.post("/v1/score", json={"items": [item], **more})
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate_json(answer.content)


def logged(path: Path, item: Json, said: wire.ScoreResponse) -> Rollout:
    """The answer as a results file of `rubricd score` has it, read again."""
    told = results_file.line(0, Scored(said.results[0], said.judge), "d", wire.Item.model_validate(item), 0)
    path.write_text(json.dumps(told) + "\n")
    (rollout,) = read(path)
    return rollout


def same(rollout: Rollout, result: wire.Result) -> bool:
    """Whether the verdicts are the service's, too, to the last bit."""
    fields = ("status", "met", "p", "level", "p_levels", "p_levels_raw", "value", "extracted")

    def of(one: Any) -> list[Any]:
        told = [getattr(one, name) for name in fields]
        return [list(value) if isinstance(value, tuple) else value for value in told]

    ok = [(mine, its) for mine, its in zip(rollout.criteria, result.criteria, strict=True) if its.status == "ok"]
    return all(of(mine) == of(its) for mine, its in ok if its.source != "rule")


async def test_of_150_answers_with_levels_every_score_is_given_again_and_under_other_settings(tmp_path: Path) -> None:
    """Each is rescored as it was, and then by another formula and other values: what the service answers to the rubric
    with these values, from its cache."""
    rng, wrong, scored, moved, graded = random.Random(29), 0, 0, 0, 0
    async with serving() as client:
        for n in range(RUNS):
            rubric = [drawn(rng, n, k) for k in range(rng.randint(1, 5))]
            item = {"prompt": "Knee?", "response": f"Rest {n}.", "rubric": rubric}
            first, second = options(rng), options(rng)
            rollout = logged(tmp_path / "log.results.jsonl", item, await asked(client, item, **first))
            formula = Formula(**first)
            again = Change(formula, formula).of(rollout)
            wrong += not again.logged == again.before.score == again.after.score

            other = {**item, "rubric": [other_values(rng, one) for one in rubric]}
            expected = (await asked(client, other, **second)).results[0]
            new = wire.Rubric.model_validate(other["rubric"])
            change = Change(formula, Formula(**second), always(new))
            rescored = change.of(rollout)
            wrong += rescored.after.score != expected.score
            (told,) = rescored_rollouts([rescored], change)
            wrong += not same(told, expected)
            scored += rescored.after.score is not None
            moved += rescored.after.score != again.logged
            graded += sum("levels" in one or "choices" in one for one in rubric)
    assert wrong == 0
    assert scored > 100 and moved > 75 and graded > 150


def graded_line(ps: list[float], levels: Any = LEVELS, **more: Any) -> Json:
    """A response whose middle criterion has levels."""
    found = line("a", "x", [0.9, 0.1, 0.4])
    found["item"]["rubric"] = [
        found["item"]["rubric"][0],
        {"text": "How much?", "points": 4, "levels": levels},
        found["item"]["rubric"][2],
    ]
    found["criteria"][1] = verdict(1, 0.6, level=1, p_levels=ps, value=0.5) | more
    return found


def test_levels_by_hand(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [graded_line([0.2, 0.5, 0.3])])
    assert PLAIN.of(rollout).after.score == (5 + 2) / 11
    soft = Change(Formula(), Formula(soft=True)).of(rollout).after.score
    assert soft == pytest.approx((5 * 0.9 + 4 * 0.55 + 2 * 0.4) / 11)
    worth = wire.Rubric.model_validate(
        [{"text": "How much?", "points": -4, "levels": [{**one, "value": one["value"] / 2} for one in LEVELS]}]
    )
    assert Change(Formula(), Formula(), always(worth)).of(rollout).after.score == -0.25


def test_an_unjudged_level_is_at_its_worst_or_best_and_no_level_that_it_does_not_have(tmp_path: Path) -> None:
    levels = [{"text": "some", "value": 0.25}, {"text": "more", "value": 0.75}]
    told = graded_line([], levels)
    told["criteria"][1] = {"id": "1", "status": "timeout", "met": None}
    (rollout,) = written(tmp_path / "log.jsonl", [told])
    for unjudged, share in (("lower", 0.25), ("middle", 0.5)):
        formula = Formula(min_coverage=0.2, unjudged=unjudged)  # type: ignore[arg-type]
        assert Change(formula, formula).of(rollout).after.score == (5 + 4 * share) / 11


def test_other_texts_of_levels_are_another_question(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [graded_line([0.2, 0.5, 0.3])])
    for levels in (LEVELS[::-1], [*LEVELS[:2], {"text": "everything", "value": 1}], LEVELS[:2]):
        other = wire.Rubric.model_validate([{"text": "How much?", "points": 4, "levels": levels}])
        assert Change(Formula(), Formula(), always(other)).of(rollout).after.rulings == [None]
    nominal = wire.Rubric.model_validate([{"text": "How much?", "points": 4, "choices": LEVELS}])
    assert Change(Formula(), Formula(), always(nominal)).of(rollout).after.score == 0.5


def test_what_cannot_be_counted_is_refused_with_its_place(tmp_path: Path) -> None:
    cases: Mapping[str, Json] = {
        "no `p_levels`": graded_line([0.2, 0.5, 0.3], p_levels=None),
        "of 2 levels or choices, and its criterion has 3": graded_line([0.2, 0.8]),
        "of 4 levels or choices, and its criterion has 3": graded_line([0.1, 0.2, 0.3, 0.4]),
        "of 2 levels or choices, and its criterion has 0": line("a", "x", [0.9, 0.6, 0.4]),
        "is of a level without values": graded_line([0.2, 0.5, 0.3], text="How much?", points=4),
    }
    cases["of 2 levels or choices, and its criterion has 0"]["criteria"][1] |= {"level": 1, "p_levels": [0.4, 0.6]}
    bare = cases["is of a level without values"]
    del bare["item"]["rubric"]
    for place, one in enumerate(bare["criteria"]):
        one |= {"text": f"{place}", "points": 1}
    for message, one in cases.items():
        (rollout,) = written(tmp_path / "log.jsonl", [one])
        with pytest.raises(DataError) as caught:
            PLAIN.of(rollout)
        assert "line 1: " in str(caught.value) and message in str(caught.value)


def test_no_level_counts_as_met_without_its_probabilities() -> None:
    with pytest.raises(ValueError, match="0 levels or choices, and its criterion has 3"):
        Formula().score([Counted(1, values=(0.0, 0.5, 1.0))], [Ruling(True, 0.9)])


def test_with_a_judge_a_level_without_probabilities_is_asked(tmp_path: Path) -> None:
    (rollout,) = written(tmp_path / "log.jsonl", [graded_line([], p_levels=None)])
    change = Change(
        Formula(),
        Formula(),
        answer=lambda _, one: Ruling(True, 0.9, (0.0, 0.0, 1.0) if one.counted.values else None),
    )
    rescored = change.of(rollout)
    assert (rescored.before.score, rescored.after.score) == (None, 1.0)


def test_a_calibration_of_p_met_leaves_levels_and_extracted_values_as_they_are(tmp_path: Path) -> None:
    told = graded_line([0.2, 0.5, 0.3])
    rule = {"rule": "exact", "gold": "42"}
    extract = {"type": "number", "instructions": "The number.", "rule": rule}
    told["item"]["rubric"][2] = {**told["item"]["rubric"][2], "extract": extract}
    told["criteria"][2] |= {"met": True, "p": None, "p_raw": None, "extracted": "42"}
    (rollout,) = written(tmp_path / "log.jsonl", [told])
    rescored = Change(Formula(), Formula(), calibration=calibration("judge-0")).of(rollout)
    assert (
        rescored.after.rulings[1:] == rescored.before.rulings[1:] == [Ruling(True, 0.6, (0.2, 0.5, 0.3)), Ruling(True)]
    )


async def test_of_40_answers_a_calibration_of_levels_makes_what_a_service_with_it_answers(tmp_path: Path) -> None:
    """In both directions: the log of a service with a calibration holds the levels as its judge gave them, too."""
    async with serving() as client:
        reading = (await client.get("/v1/judge")).json()["judges"][0]["readings"]["levels"]
    skewed, sharp = level_calibration(reading, 2.5, ((0.3, 0.0, -0.2), (0.4, -0.4))), level_calibration(reading, 0.4)
    file, rng, wrong, moved = tmp_path / "calibration.json", random.Random(31), 0, 0
    rubrics = [[one for k in range(4) if (one := drawn(rng, n, k)).get("verifier") is None] for n in range(20)]
    items = [{"prompt": "Knee?", "response": f"Rest {n}.", "rubric": one} for n, one in enumerate(rubrics) if one]
    answers: dict[str, list[wire.ScoreResponse]] = {}
    for name, made in (("none", None), ("skewed", skewed), ("sharp", sharp)):
        file.write_text("" if made is None else wire.write_calibrations([], [made]))
        async with serving(settings=fake_settings(calibration=None if made is None else file)) as client:
            answers[name] = [await asked(client, one) for one in items]
    for before, after, made in (("none", "skewed", skewed), ("skewed", "sharp", sharp)):
        change = Change(Formula(), Formula(), levels=made)
        for item, said, expected in zip(items, answers[before], answers[after], strict=True):
            rescored = change.of(logged(tmp_path / "log.results.jsonl", item, said))
            (told,) = rescored_rollouts([rescored], change)
            wrong += rescored.after.score != expected.results[0].score or not same(told, expected.results[0])
            moved += rescored.after.score != rescored.logged
    assert wrong == 0
    assert moved > 5


def level_calibration(judge: str, temperature: float, biases: tuple[tuple[float, ...], ...] = ()) -> Any:
    fields = {"model": "fake", "mode": "verdict", "method": "vector", "digest": "0" * 64, "criteria": 60, "groups": 10}
    found = wire.Interval(value=0.5, low=0.4, high=0.6)
    return wire.LevelCalibration(
        judge=judge,
        temperature=temperature,
        biases=biases,
        log_loss=found,
        gain=found,
        **fields,  # type: ignore[arg-type]
    )


def test_a_file_with_several_calibrations_of_levels_is_refused() -> None:
    two = [level_calibration("a" * 16, 2.0), level_calibration("b" * 16, 2.0)]
    with pytest.raises(DataError, match="several calibrations of levels"):
        chosen_levels(wire.CalibrationFile(levels=tuple(two)), "c.json")
    assert chosen_levels(wire.CalibrationFile(levels=(two[0],)), "c.json") is two[0]
    assert chosen((), {"judge-1"}, "c.json") is None


def test_a_flip_is_of_met_at_each_sides_threshold(tmp_path: Path) -> None:
    rollouts = written(tmp_path / "log.jsonl", [graded_line([0.2, 0.5, 0.3])])
    change = Change(Formula(), Formula(threshold=0.6))
    found = compare(map(change.of, rollouts), before=0.5, after=0.6)
    assert {one.name: one.to_unmet for one in found.flips if one.kind == "criterion"} == {
        "How much?": 1,
        "Is kind.": 0,
        "Is short.": 0,
    }

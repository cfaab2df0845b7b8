"""What an answer is kept under, and that levels come back from the file as the judge gave them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.rescoring.logs import LEVELS, line, verdict, written
from trainer_client import wire
from trainer_client.errors import DataError
from trainer_client.rescoring.asking import Answers, key_of, wanted
from trainer_client.rescoring.change import Criterion
from trainer_client.rescoring.formula import Ruling
from trainer_client.rollouts import Rollout

KEY = "ffd65dfd37d713eb9a8f11c0c234557a"


def criterion(**more: Any) -> Criterion:
    return Criterion.of("0", wire.Criterion.model_validate({"text": "How much?", "points": 4, **more}))


@pytest.fixture
def rollout(tmp_path: Path) -> Rollout:
    told = line("a", "x", [0.9, 0.1, 0.4])
    told["item"]["rubric"] = [{"text": "How much?", "points": 4, "levels": LEVELS}]
    told["criteria"] = [verdict(0, 0.6, level=1, p_levels=[0.1, 0.6, 0.3], value=0.6)]
    (found,) = written(tmp_path / "log.jsonl", [told])
    return found


def said() -> wire.CriterionResult:
    fields = {"p_raw": 0.8, "label_mass": 1.0, "points": 4.0, "level": 2, "p_levels": [0.1, 0.1, 0.8]}
    return wire.CriterionResult.model_validate(
        {"id": "0", "status": "ok", "met": True, "p": 0.8, "source": "judge", **fields}
    )


def always(rubric: wire.Rubric) -> Callable[[Rollout], wire.Rubric]:
    return lambda _: rubric


def extract(gold: str) -> dict[str, Any]:
    return {"type": "number", "instructions": "The number.", "rule": {"rule": "exact", "gold": gold}}


def test_a_key_holds_the_question_and_no_values(rollout: Rollout) -> None:
    halved = [{**one, "value": one["value"] / 2} for one in LEVELS]
    questions = [
        criterion(),
        criterion(verifier={"rule": "contains", "text": "a"}),
        criterion(levels=LEVELS),
        criterion(levels=LEVELS[::-1]),
        criterion(extract=extract("4")),
        criterion(extract=extract("5")),
    ]
    keys = [key_of("judge", rollout, one) for one in questions]
    assert len({*keys}) == len(questions)
    assert key_of("judge", rollout, criterion(levels=halved, points=-1)) == keys[2]
    assert keys[0] == KEY, "answers of plain criteria are kept under the keys that they had"


def test_levels_are_read_back_from_the_file(rollout: Rollout, tmp_path: Path) -> None:
    path, one = tmp_path / "answers.jsonl", criterion(levels=LEVELS)
    answers = Answers(path, "judge-1")
    answers.add([(answers.key(rollout, one), said())])
    assert Answers(path, "judge-1").of(rollout, one) == answers.of(rollout, one) == Ruling(True, 0.8, (0.1, 0.1, 0.8))
    path.write_text(json.dumps({**json.loads(path.read_text()), "p_levels": ["much"]}) + "\n")
    with pytest.raises(DataError, match="line 1: it is no answer"):
        Answers(path, "judge-1")


def test_logged_levels_are_asked_since_a_log_does_not_say_how_they_were_read(rollout: Rollout, tmp_path: Path) -> None:
    own = Answers(tmp_path / "own.jsonl", "judge-0", None, {"levels": "reading-1"})
    (key,) = wanted([rollout], own, None)
    own.add([(key, said())])
    assert not wanted([rollout], Answers(tmp_path / "own.jsonl", "judge-0", None, {"levels": "reading-1"}), None)
    calibrated = Answers(tmp_path / "own.jsonl", "judge-0", None, {"levels": "reading-2"})
    assert len(wanted([rollout], calibrated, None)) == 1, "another calibration of levels"
    halved = wire.Rubric(criteria=[criterion(levels=[{**one, "value": one["value"] / 2} for one in LEVELS]).source])
    turned = wire.Rubric(criteria=[criterion(levels=LEVELS[::-1]).source])
    assert [len(wanted([rollout], own, always(one))) for one in (halved, turned)] == [0, 1]

"""Agreement on levels: against figures that are counted by hand, in lines, JSON, page and limits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tests.trainer_client.agreement.made import Json, judged_by, labels_of
from trainer_client.agreement.levels import level_agreement, weighted_kappa
from trainer_client.agreement.measured import Asked, measure
from trainer_client.agreement.page import page
from trainer_client.agreement.rewards import rewards_of
from trainer_client.agreement.thresholds import Limit, beyond
from trainer_client.cli.agree_lines import lines
from trainer_client.errors import DataError
from trainer_client.labels import Judged, Labels

THREE = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]


def row(prompt: int, level: int | None, **criterion: object) -> Json:
    rubric = [{"id": "a", "text": "Names it.", "points": 2, **(criterion or {"levels": THREE})}]
    item = {"prompt": f"p{prompt}", "response": "r", "rubric": rubric}
    return {"item": item, "level": {"a": level}}


def graded(labels: Labels, levels: list[int | None]) -> Judged:
    """What a judge took, with 0.8 of the probability on it."""
    judged = judged_by(labels, [0.5] * len(levels))
    criteria = [
        replace(
            one,
            status="abstained" if level is None else "ok",
            met=None if level is None else level > 0,
            level_label=labels.items[one.item].levels.get("a"),
            level=level,
            p_levels=None if level is None else tuple(0.8 if n == level else 0.1 for n in range(3)),
            values=(0.0, 0.5, 1.0),
        )
        for one, level in zip(judged.criteria, levels, strict=True)
    ]
    return replace(judged, criteria=tuple(criteria))


LABELLED = [0, 1, 2, 2, 1, 0, None]
TAKEN = [0, 1, 2, 0, 2, None, 1]


def test_the_figures_are_those_counted_by_hand(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, [row(n, level) for n, level in enumerate(LABELLED)])
    found = level_agreement(labels, graded(labels, list(TAKEN)), resamples=50)
    assert found is not None
    values = {name: figure.value for name, figure in found.figures.items()}
    assert values["levels_not_judged"] == pytest.approx(1 / 6)
    assert values["levels_exact"] == pytest.approx(3 / 5)
    assert values["levels_within_one"] == pytest.approx(4 / 5)
    assert values["levels_log_loss"] == pytest.approx(-(3 * np.log(0.8) + 2 * np.log(0.1)) / 5)
    [table] = found.confusions
    assert (table.ordered, table.counts) == (True, ((1, 0, 0), (0, 1, 1), (1, 0, 1)))
    assert all(one.low is not None and one.low <= (one.value or 0) for one in found.figures.values())


def test_the_weighted_kappa_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(2)
    for size in (2, 3, 5, 10):
        label, level = draw.integers(0, size, (2, 200))
        level = np.where(draw.random(200) < 0.5, label, level)
        expected = cohen_kappa_score(label, level, weights="quadratic")
        assert float(weighted_kappa(label, level, np.full(200, size))) == pytest.approx(expected)
    same = np.zeros(5, dtype=np.intp)
    assert np.isnan(weighted_kappa(same, same, np.full(5, 3))), "labels of one kind tell nothing"


def test_choices_have_no_order(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, [row(n, level, choices=THREE) for n, level in enumerate((0, 1, 2))])
    judged = graded(labels, [0, 1, 0])
    nominal = replace(judged, criteria=tuple(replace(one, ordered=False) for one in judged.criteria))
    found = level_agreement(labels, nominal, resamples=50)
    assert found is not None
    assert found.figures["levels_kappa"].value is None
    assert found.figures["levels_exact"].value == pytest.approx(2 / 3)
    assert not found.confusions[0].ordered


def test_levels_are_in_the_lines_the_page_the_json_and_the_limits(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, [row(n, level) for n, level in enumerate(LABELLED)])
    found = measure(labels, [Asked("verdict", graded(labels, list(TAKEN)))], resamples=50)
    text = "\n".join(lines(found))
    assert "6 labelled criteria" in text and "labelled (rows) and judged" in text and "0.600" in text
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["judges"][0]["levels"]["confusions"][0]["counts"][2] == [1, 0, 1]
    assert "Levels and choices" in page(found)
    assert list(beyond(found, [Limit("levels_exact", 0.7, at_least=True)]))
    assert not list(beyond(found, [Limit("levels_within_one", 0.7, at_least=True)]))


def test_a_reward_has_the_share_of_the_level(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, [row(0, 1), row(0, 2)])
    found = rewards_of(labels, graded(labels, [2, 1]))
    assert found.label.tolist() == [0.5, 1.0] and found.judge.tolist() == [1.0, 0.5]
    assert found.soft.tolist() == pytest.approx([0.8 + 0.05, 0.4 + 0.1])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"level": {"a": 3}}, "`level` of criterion 'a' is 3, and that criterion has 3, from 0"),
        ({"level": {"a": True}}, "write the place of the level or choice, from 0"),
        ({"level": {"a": -1}}, "write the place of the level or choice, from 0"),
        ({"level": {"b": 1}}, "`level` names the criterion 'b'"),
        ({"level": [{"a": 1}, {"a": 2}]}, "write `level` as a list"),
        ({"level": [1]}, "write an object of the place of the level"),
        ({"level": {"a": None}}, "no criterion has a label"),
    ],
)
def test_a_label_that_is_no_level_is_refused(tmp_path: Path, changed: Json, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        labels_of(tmp_path, [{**row(0, 1), **changed}])


def test_levels_stand_in_the_criteria_too_and_beside_met(tmp_path: Path) -> None:
    rubric = [
        {"text": "Names it.", "points": 2, "levels": THREE, "level": 2},
        {"text": "Lies.", "points": -1, "met": True},
    ]
    [item] = labels_of(tmp_path, [{"prompt": "p", "response": "r", "rubric": rubric}]).items
    graded_id, plain_id = (one.id or "" for one in item.criteria)
    assert (item.levels, item.met[plain_id], item.met[graded_id]) == ({graded_id: 2}, True, None)
    plain = [{"text": "Names it.", "points": 2, "level": 1}]
    with pytest.raises(DataError, match="that criterion is met or not"):
        labels_of(tmp_path, [{"prompt": "p", "response": "r", "rubric": plain}])

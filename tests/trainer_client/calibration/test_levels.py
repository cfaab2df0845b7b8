"""Calibrations of levels: what is planted is found, what is not there is not, and the service applies the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.modes.level_calibration import LevelCalibration
from tests.trainer_client.agreement.made import judged_by, labels_of
from trainer_client import wire
from trainer_client.calibration.levels import GradedRows, fit, make_levels
from trainer_client.calibration.made import read_file, write_file
from trainer_client.errors import DataError
from trainer_client.labels import Judged, Labels

THREE = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]


def drawn(
    folder: Path, prompts: int, temperature: float, bias: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> tuple[Labels, Judged]:
    """A judge whose probabilities are right after this temperature and these biases."""
    draw = np.random.default_rng(1)
    true = draw.dirichlet((1.0, 1.0, 1.0), size=(prompts, 4))
    label = np.array([[draw.choice(3, p=one) for one in row] for row in true])
    said = np.exp((np.log(true) - np.array(bias)) * temperature)
    said /= said.sum(axis=-1, keepdims=True)
    rows = [
        {
            "item": {
                "prompt": f"p{n}",
                "response": "r",
                "rubric": [{"id": str(k), "text": f"c{k}", "points": 1, "levels": THREE} for k in range(4)],
            },
            "level": {str(k): int(label[n, k]) for k in range(4)},
        }
        for n in range(prompts)
    ]
    labels = labels_of(folder, rows)
    judged = judged_by(labels, [0.5] * (4 * prompts))
    flat = said.reshape(-1, 3)
    criteria = [
        replace(
            one,
            level_label=int(label.ravel()[at]),
            level=int(flat[at].argmax()),
            p_levels_raw=tuple(map(float, flat[at])),
        )
        for at, one in enumerate(judged.criteria)
    ]
    judge = judged.judge.model_copy(update={"readings": {"levels": "reading"}})
    return labels, replace(judged, judge=judge, criteria=tuple(criteria))


def test_a_planted_temperature_and_a_planted_bias_are_found(tmp_path: Path) -> None:
    sure = make_levels(*drawn(tmp_path, 150, 3.0)).calibration
    assert (sure.method, sure.judge) == ("temperature", "reading")
    assert sure.temperature == pytest.approx(3.0, rel=0.15)
    assert 0 < sure.gain.low <= sure.gain.value <= sure.gain.high
    leaning = make_levels(*drawn(tmp_path, 150, 1.5, (-1.0, 1.0, 0.0))).calibration
    assert leaning.method == "vector"
    assert leaning.biases[0] == pytest.approx((-1.0, 1.0, 0.0), abs=0.3)


def test_probabilities_that_hold_are_left_as_they_are(tmp_path: Path) -> None:
    made = make_levels(*drawn(tmp_path, 150, 1.0)).calibration
    assert (made.method, made.temperature, made.biases, made.gain.value) == ("none", 1.0, (), 0.0)


def test_too_few_labels_and_a_judge_without_levels_make_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes 60 of 10 prompts"):
        make_levels(*drawn(tmp_path, 9, 2.0))
    labels, judged = drawn(tmp_path, 30, 2.0)
    with pytest.raises(DataError, match="reads no levels"):
        make_levels(labels, replace(judged, judge=judged.judge.model_copy(update={"readings": None})))


def test_a_place_that_was_hardly_labelled_has_no_bias() -> None:
    draw = np.random.default_rng(0)
    z = np.log(draw.dirichlet((1.0, 1.0, 1.0), size=200))
    label = np.where(np.arange(200) < 5, 2, np.arange(200) % 2)
    rows = GradedRows({3: (z, label, np.arange(200))}, np.arange(200))
    assert fit(rows, "vector").biases == {}


def test_the_service_applies_what_was_fitted(tmp_path: Path) -> None:
    labels, judged = drawn(tmp_path, 150, 1.5, (-1.0, 1.0, 0.0))
    made = make_levels(labels, judged).calibration
    served = LevelCalibration("n", "j", made.temperature, {len(one): one for one in made.biases})
    losses = [-np.log(served(one.p_levels_raw or ())[one.level_label or 0]) for one in judged.criteria]
    before = [-np.log((one.p_levels_raw or ())[one.level_label or 0]) for one in judged.criteria]
    assert np.mean(losses) < np.mean(before) - made.gain.low


def test_a_file_keeps_both_kinds_side_by_side(tmp_path: Path) -> None:
    made = make_levels(*drawn(tmp_path, 150, 3.0)).calibration
    path = tmp_path / "calibration.json"
    write_file(path, [], [made])
    write_file(path, [], [made.model_copy(update={"judge": "other"})])
    found = read_file(path)
    assert found is not None and [one.judge for one in found.levels] == ["reading", "other"]
    assert found.levels[0] == made and not found.calibrations
    assert wire.parse_calibrations(path.read_bytes()) == found

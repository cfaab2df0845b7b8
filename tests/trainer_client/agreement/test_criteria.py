from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tests.trainer_client.agreement.made import Json, judged_by, labels_of
from trainer_client.agreement.criteria import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    criterion_figures,
    reliability,
    slices,
    verdicts_of,
)
from trainer_client.labels import Judged, Labels


def _rows(count: int, draw: np.random.Generator) -> list[Json]:
    rows = []
    for number in range(count):
        rubric = [
            {"id": "a", "text": "Is kind.", "points": 5, "tags": {"axis": "tone", "language": "English"}},
            {"id": "b", "text": "Lies.", "points": -3, "tags": {"axis": "truth", "language": "French"}},
        ]
        met = {"a": bool(draw.random() < 0.5), "b": bool(draw.random() < 0.5)}
        item = {"prompt": f"p{number // 4}", "response": "x" * int(draw.integers(1, 300)), "rubric": rubric}
        rows.append({"item": item, "met": met})
    return rows


@pytest.fixture
def sample(tmp_path: Path) -> tuple[Labels, Judged]:
    draw = np.random.default_rng(0)
    labels = labels_of(tmp_path, _rows(200, draw))
    return labels, judged_by(labels, [float(p) for p in draw.random(400)])


def test_figures_are_scikit_learns_whole_and_by_sign(sample: tuple[Labels, Judged]) -> None:
    labels, judged = sample
    found = criterion_figures(verdicts_of(labels, judged), resamples=50)
    assert {*HIGHER_IS_BETTER, *LOWER_IS_BETTER} <= set(found)
    truth = np.array([bool(one.met_label) for one in judged.criteria])
    met = np.array([bool(one.met) for one in judged.criteria])
    p = np.array([one.p for one in judged.criteria], dtype=float)
    wanted = np.array([one.points > 0 for one in judged.criteria])
    for name, expected in (
        ("accuracy", metrics.accuracy_score(truth, met)),
        ("kappa", metrics.cohen_kappa_score(truth, met)),
        ("auroc", metrics.roc_auc_score(truth, p)),
        ("log_loss", metrics.log_loss(truth, p)),
        ("false_positive_rate_wanted", met[wanted & ~truth].mean()),
        ("false_negative_rate_wanted", (~met)[wanted & truth].mean()),
        ("false_positive_rate_fault", met[~wanted & ~truth].mean()),
        ("false_negative_rate_fault", (~met)[~wanted & truth].mean()),
        ("abstained", 0.0),
        ("not_judged", 0.0),
    ):
        value = found[name].value
        assert value is not None and abs(value - expected) < 1e-9, name
    assert "ece_raw" not in found and found["accuracy"].n == 400


def test_what_lacks_a_label_or_a_verdict_is_in_no_figure(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = _rows(100, draw)
    for row in rows[:20]:
        row["met"]["a"] = None
    labels = labels_of(tmp_path, rows)
    p: list[float | None] = [0.9] * 200
    p[50:80] = [None] * 30
    found = criterion_figures(verdicts_of(labels, judged_by(labels, p)), resamples=50)
    assert found["not_judged"].n == 180 and found["accuracy"].n == 150
    assert found["not_judged"].value == found["abstained"].value == pytest.approx(30 / 180)
    late = judged_by(labels, p, abstains="timeout")
    found = criterion_figures(verdicts_of(labels, late), resamples=50)
    assert found["abstained"].value == 0 and found["not_judged"].value == pytest.approx(30 / 180)


def test_rules_are_left_out_and_raw_probabilities_have_figures_of_their_own(sample: tuple[Labels, Judged]) -> None:
    labels, judged = sample
    criteria = [
        replace(one, source="rule", p=None, p_raw=None) if one.criterion == "a" else replace(one, p_raw=0.5)
        for one in judged.criteria
    ]
    verdicts = verdicts_of(labels, replace(judged, criteria=tuple(criteria)))
    found = criterion_figures(verdicts, resamples=50)
    assert len(verdicts) == 200 and found["auroc_raw"].value == 0.5 and found["auroc"].value != 0.5
    assert found["false_positive_rate_wanted"].value is None


def test_slices_are_by_tag_language_and_length(sample: tuple[Labels, Judged]) -> None:
    labels, judged = sample
    verdicts = verdicts_of(labels, judged)
    found = list(slices(labels, judged, verdicts, resamples=20))
    names = [(one.kind, one.name.split(" ")[0]) for one in found]
    assert names[:4] == [("tag", "axis:tone"), ("tag", "axis:truth"), ("language", "English"), ("language", "French")]
    assert [kind for kind, _ in names[4:]] == ["length"] * 3
    assert sum(one.figures["accuracy"].n for one in found if one.kind == "length") == 400
    assert found[0].figures["accuracy"].n == 200


def test_reliability_bins_hold_all_probabilities(sample: tuple[Labels, Judged]) -> None:
    labels, judged = sample
    bins = reliability(verdicts_of(labels, judged), resamples=50)
    assert sum(one["n"] for one in bins) == 400 and len(bins) == 10  # type: ignore[misc]
    inside = [one for one in judged.criteria if one.p is not None and 0.3 <= one.p < 0.4]
    third = bins[3]
    assert third["n"] == len(inside) and third["p"] == pytest.approx(np.mean([one.p for one in inside if one.p]))
    assert third["met"]["value"] == pytest.approx(np.mean([bool(one.met_label) for one in inside]))  # type: ignore[index]

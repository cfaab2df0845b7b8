from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tests.trainer_client.agreement.made import judged_by, labels_of
from trainer_client.agreement.comparison import comparison_figures
from trainer_client.agreement.criteria import verdicts_of


def test_two_judges_are_compared_on_what_both_have_judged(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rubric = [{"id": "a", "text": "Is kind.", "points": 5}]
    truth = draw.random(400) < 0.5
    rows = [
        {"item": {"prompt": f"p{n // 4}", "response": "r", "rubric": rubric}, "met": {"a": bool(met)}}
        for n, met in enumerate(truth)
    ]
    labels = labels_of(tmp_path, rows)
    good = np.clip(truth * 0.5 + draw.random(400) * 0.5, 0, 1)
    poor = draw.random(400)
    first: list[float | None] = [float(p) for p in good]
    second: list[float | None] = [float(p) for p in poor]
    first[:10] = [None] * 10
    second[5:20] = [None] * 15
    one, other = (verdicts_of(labels, judged_by(labels, p)) for p in (first, second))
    found = comparison_figures(one, other, resamples=200)
    both = slice(20, 400)
    assert found["same"].n == 380
    same = metrics.accuracy_score(good[both] >= 0.5, poor[both] >= 0.5)
    assert found["same"].value == pytest.approx(same)
    more = metrics.roc_auc_score(truth[both], good[both]) - metrics.roc_auc_score(truth[both], poor[both])
    auroc = found["auroc_more"]
    assert auroc.value == pytest.approx(more) and auroc.low is not None and 0 < auroc.low < more


def test_a_judge_and_itself_are_the_same(tmp_path: Path) -> None:
    rubric = [{"id": "a", "text": "Is kind.", "points": 5}]
    rows = [
        {"item": {"prompt": f"p{n}", "response": "r", "rubric": rubric}, "met": {"a": n % 3 == 0}} for n in range(60)
    ]
    labels = labels_of(tmp_path, rows)
    one = verdicts_of(labels, judged_by(labels, [n / 60 for n in range(60)]))
    found = comparison_figures(one, one, resamples=50)
    same, more = found["same"], found["auroc_more"]
    assert (same.value, same.high) == (1, 1) and same.low == pytest.approx(60 / (60 + 1.96**2), abs=1e-4)
    assert (more.value, more.low, more.high, more.why) == (0, None, None, "no_spread")

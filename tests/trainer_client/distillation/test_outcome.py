"""Figures of a distilled judge are those of its rows, with labels and teacher apart."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.trainer_client.distillation.made import example
from trainer_client.distillation.outcome import agreements


def test_labels_and_teacher_are_compared_apart_before_and_after() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    targets = np.clip(truth * 0.6 + rng.random(400) * 0.4, 0, 1)
    made = [
        example(n, [1], [2], label=bool(truth[n]) if n % 2 else None, target=float(targets[n]), group=str(n % 40))
        for n in range(400)
    ]
    before, after = rng.random(400), np.clip(truth * 0.5 + rng.random(400) * 0.5, 0, 1)
    labels, teacher = agreements("test", made, before, after, taught=True)
    odd = np.arange(400) % 2 == 1
    assert (labels.against, labels.after["auroc"].n, teacher.against, teacher.after["auroc"].n) == (
        "labels",
        200,
        "teacher",
        400,
    )
    assert labels.before["auroc"].value == pytest.approx(roc_auc_score(truth[odd], before[odd]))
    assert labels.after["accuracy"].value == pytest.approx(((after >= 0.5) == truth)[odd].mean())
    assert teacher.after["auroc"].value == pytest.approx(roc_auc_score(targets >= 0.5, after))
    assert labels.gain.value == pytest.approx(
        roc_auc_score(truth[odd], after[odd]) - roc_auc_score(truth[odd], before[odd])
    )
    assert labels.gain.low is not None and labels.gain.low > 0


def test_without_labels_and_without_a_teacher_there_is_no_figure() -> None:
    made = [example(n, [1], [2], label=None) for n in range(4)]
    assert agreements("test", made, np.zeros(4), np.ones(4), taught=False) == []

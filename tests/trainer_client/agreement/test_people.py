from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tests.trainer_client.agreement.made import Json, labels_of
from trainer_client.agreement.people import annotator_figures


def _rows(words: list[list[bool | None]]) -> list[Json]:
    rubric = [{"id": "a", "text": "Is kind.", "points": 5}]
    return [
        {"item": {"prompt": f"p{n}", "response": "r", "rubric": rubric}, "met": {"a": own}}
        for n, own in enumerate(words)
    ]


def test_an_annotator_is_held_against_the_majority_of_the_others(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(300) < 0.5
    words = [[bool(one ^ (draw.random() < wrong)) for wrong in (0.1, 0.2, 0.3)] for one in truth]
    found = annotator_figures(labels_of(tmp_path, _rows([[*own] for own in words])), resamples=50)
    wanted, given = [], []
    for own in words:
        for place in range(3):
            others = own[:place] + own[place + 1 :]
            if others[0] == others[1]:
                wanted.append(others[0])
                given.append(own[place])
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(wanted, given))
    assert found["kappa"].value == pytest.approx(metrics.cohen_kappa_score(wanted, given))
    assert found["alpha"].n == 300 and found["accuracy"].n == len(wanted)
    alpha = found["alpha"]
    assert alpha.value is not None and alpha.low is not None and alpha.low < alpha.value


def test_without_two_words_on_a_criterion_there_is_no_ceiling(tmp_path: Path) -> None:
    assert annotator_figures(labels_of(tmp_path, _rows([[True, None], [False, None]]))) == {}

"""Prompts are compared on the same criteria, and what choosing one is worth is measured on rows that took no part."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainer_client.agreement.made import judged_by, labels_of
from trainer_client.calibration.tuning import Asked, tune
from trainer_client.labels import Labels

PROMPTS, CRITERIA = 24, 10


def _labels(folder: Path, seed: int) -> Labels:
    random = np.random.default_rng(seed)
    rubric = [{"text": f"Is {n}.", "points": 1} for n in range(CRITERIA)]
    return labels_of(
        folder,
        [
            {
                "item": {"prompt": f"p{n}", "response": "r", "rubric": rubric},
                "met": {str(c): bool(random.random() < 0.5) for c in range(CRITERIA)},
            }
            for n in range(PROMPTS)
        ],
    )


def _asked(labels: Labels, name: str, seed: int, *, skill: float, bias: float = 0.0) -> Asked:
    """P(met) whose log-odds are the label times `skill`, and noise of one."""
    random = np.random.default_rng(seed)
    met = [bool(value) for one in labels.items for value in one.met.values()]
    at = skill * (2 * np.array(met) - 1) + bias + random.normal(size=len(met))
    return Asked(name, judged_by(labels, [float(p) for p in 1 / (1 + np.exp(-at))]))


def test_a_prompt_that_is_better_wins_and_what_it_is_worth_is_near_its_own_figures(tmp_path: Path) -> None:
    labels = _labels(tmp_path, 1)
    asked = [
        _asked(labels, name, n, skill=skill) for n, (name, skill) in enumerate([("a", 0.2), ("b", 1.0), ("c", 0.1)])
    ]
    tuned = tune(labels, asked)
    by_name = {one.name: one for one in tuned.compared}
    assert (tuned.winner, tuned.criteria, tuned.prompts) == ("b", PROMPTS * CRITERIA, PROMPTS)
    assert [one.chosen for one in tuned.compared] == [0, 5, 0]
    assert tuned.worth["auroc"].value == pytest.approx(by_name["b"].auroc.value, abs=0.02)
    assert (tuned.worth["log_loss_gain"].low or 0) > 0 and (tuned.worth["auroc_gain"].low or 0) > 0


def test_a_bias_costs_nothing_once_it_is_calibrated(tmp_path: Path) -> None:
    labels = _labels(tmp_path, 2)
    tuned = tune(labels, [_asked(labels, "plain", 3, skill=0.8), _asked(labels, "biased", 3, skill=0.8, bias=4.0)])
    plain, biased = tuned.compared
    assert biased.log_loss.value == pytest.approx(plain.log_loss.value, abs=0.01)
    assert (biased.raw_log_loss.value or 0) > 2 * (plain.raw_log_loss.value or 0)
    assert tuned.winner == "plain"


def test_among_equals_the_first_one_stays_and_luck_is_in_no_figure(tmp_path: Path) -> None:
    """Of 20 sets with 6 prompts of one skill: the best one's own log loss is below the first one's by luck, and what
    choosing is said to be worth is not."""
    stays, lucky, worth = 0, [], []
    for seed in range(20):
        labels = _labels(tmp_path, 100 + seed)
        tuned = tune(labels, [_asked(labels, f"{n}", 1000 * seed + n, skill=0.5) for n in range(6)])
        losses = [one.log_loss.value or 0.0 for one in tuned.compared]
        stays += tuned.winner == "0"
        lucky.append(losses[0] - min(losses))
        worth.append(tuned.worth["log_loss_gain"].value or 0.0)
    assert np.mean(lucky) > 0.01
    assert np.mean(worth) < 0.5 * np.mean(lucky)
    assert stays >= 6


def test_a_prompt_that_abstains_is_not_compared_and_all_others_are_on_the_same_criteria(tmp_path: Path) -> None:
    labels = _labels(tmp_path, 4)
    good, other = _asked(labels, "good", 1, skill=1.0), _asked(labels, "other", 2, skill=0.5)
    p = [one.p_raw for one in other.judged.criteria]
    mute = Asked("mute", judged_by(labels, [None if n % 3 == 0 else value for n, value in enumerate(p)]))
    nearly = Asked("nearly", judged_by(labels, [None if n == 7 else value for n, value in enumerate(p)]))
    tuned = tune(labels, [good, mute, nearly])
    assert tuned.left_out == {"mute": "no verdict on 80 of 240 criteria, such as `abstained`"}
    assert ([one.name for one in tuned.compared], tuned.criteria) == (["good", "nearly"], 239)


def test_labels_of_one_kind_or_of_few_conversations_are_refused(tmp_path: Path) -> None:
    rubric = [{"text": "Is a.", "points": 1}]
    for met, prompts in ((lambda n: True, 10), (lambda n: n % 2 == 0, 3)):
        labels = labels_of(
            tmp_path,
            [
                {"item": {"prompt": f"p{n}", "response": "r", "rubric": rubric}, "met": {"0": met(n)}}
                for n in range(prompts)
            ],
        )
        with pytest.raises(ValueError, match="labels of four conversations, met and not met"):
            tune(labels, [_asked(labels, "a", 0, skill=1.0)])

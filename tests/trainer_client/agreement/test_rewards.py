from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy import stats

from service.rubrics.aggregation import aggregate
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion
from tests.trainer_client.agreement.made import Json, judged_by, labels_of
from trainer_client.agreement.rewards import reward, reward_figures, rewards_of
from trainer_client.formulas import Aggregation
from trainer_client.labels import Judged, Labels

POINTS = (5, 3, -4)


def _sample(folder: Path, prompts: int = 30, responses: int = 4) -> tuple[Labels, Judged]:
    draw = Random(0)
    rows: list[Json] = []
    for prompt in range(prompts):
        for response in range(responses):
            rubric = [{"id": str(n), "text": f"Is {n}.", "points": points} for n, points in enumerate(POINTS)]
            item = {"prompt": f"p{prompt}", "response": f"r{response}", "rubric": rubric}
            rows.append({"item": item, "met": {str(n): draw.random() < 0.5 for n in range(3)}})
    labels = labels_of(folder, rows)
    return labels, judged_by(labels, [draw.random() for _ in range(3 * len(rows))])


def _expected(judged: Judged, soft: bool) -> list[list[tuple[float, float]]]:
    """For each prompt the rewards by label and by the judge, computed by hand."""
    found: dict[int, list[tuple[float, float]]] = {}
    for start in range(0, len(judged.criteria), 3):
        label = judge = 0.0
        for one in judged.criteria[start : start + 3]:
            assert one.p is not None
            label += one.points * bool(one.met_label) / 8
            judge += one.points * (one.p if soft else one.p >= 0.5) / 8
        found.setdefault(start // 12, []).append((label, judge))
    return list(found.values())


@pytest.mark.parametrize("soft", [False, True])
def test_order_correlation_and_advantages_are_those_of_a_loop(tmp_path: Path, soft: bool) -> None:
    labels, judged = _sample(tmp_path)
    groups = _expected(judged, soft)
    ending = "_soft" if soft else ""
    found = reward_figures(rewards_of(labels, judged), resamples=50)
    flat = np.array([pair for group in groups for pair in group])
    assert found[f"pearson{ending}"].value == pytest.approx(stats.pearsonr(flat[:, 0], flat[:, 1])[0])
    rounded = flat.round(9)
    assert found[f"spearman{ending}"].value == pytest.approx(stats.spearmanr(rounded[:, 0], rounded[:, 1])[0])
    pairs, signs, wanted, given = [], [], [], []
    for group in groups:
        for (a, x), (b, y) in combinations(group, 2):
            if abs(a - b) > 1e-9:
                pairs.append(0.5 if abs(x - y) < 1e-9 else float((a > b) == (x > y)))
        mean_label, mean_judge = (sum(column) / len(group) for column in zip(*group, strict=True))
        wanted += [a - mean_label for a, _ in group]
        given += [x - mean_judge for _, x in group]
        for a, x in group:
            if abs(a - mean_label) > 1e-9:
                signs.append(0.5 if abs(x - mean_judge) < 1e-9 else float((a > mean_label) == (x > mean_judge)))
    assert found[f"pairwise{ending}"].value == pytest.approx(np.mean(pairs))
    assert found[f"pairwise{ending}"].n == len(pairs)
    assert found[f"advantage_sign{ending}"].value == pytest.approx(np.mean(signs))
    assert found[f"pearson_within{ending}"].value == pytest.approx(stats.pearsonr(wanted, given)[0])
    assert found[f"spearman_within{ending}"].value == pytest.approx(stats.spearmanr(wanted, given)[0], abs=1e-3)


def test_a_judge_at_chance_on_rubrics_that_differ_correlates_over_all_prompts_and_not_within(tmp_path: Path) -> None:
    """Half of the rubrics ask for good things alone and half for faults: that alone makes rewards correlate."""
    draw = Random(3)
    rows: list[Json] = []
    for prompt in range(60):
        points = (2, 3, 4) if prompt % 2 else (1, -9, -9)
        rubric = [{"id": str(n), "text": f"Is {n}.", "points": worth} for n, worth in enumerate(points)]
        for response in range(4):
            item = {"prompt": f"p{prompt}", "response": f"r{response}", "rubric": rubric}
            rows.append({"item": item, "met": {str(n): draw.random() < 0.5 for n in range(3)}})
    labels = labels_of(tmp_path, rows)
    judged = judged_by(labels, [draw.random() for _ in range(3 * len(rows))])
    found = reward_figures(rewards_of(labels, judged), resamples=100)
    over_all, within = found["pearson"].value, found["pearson_within"]
    assert over_all is not None and over_all > 0.4
    assert within.low is not None and within.high is not None and within.low < 0 < within.high


def test_a_judge_that_is_right_is_right_about_rewards(tmp_path: Path) -> None:
    labels, _ = _sample(tmp_path)
    truth = [float(bool(one.met[criterion.id or ""])) for one in labels.items for criterion in one.criteria]
    found = reward_figures(rewards_of(labels, judged_by(labels, truth)), resamples=50)
    for name in ("pearson", "spearman", "pairwise", "advantage_sign", "pairwise_soft"):
        assert found[name].value == pytest.approx(1.0), name


def test_a_response_that_lacks_a_verdict_has_no_reward(tmp_path: Path) -> None:
    labels, judged = _sample(tmp_path)
    p: list[float | None] = [one.p for one in judged.criteria]
    p[0] = None
    rewards = rewards_of(labels, judged_by(labels, p))
    assert rewards.responses == 120 and rewards.label.shape == (119,)


def test_responses_of_other_rubrics_are_not_put_in_order(tmp_path: Path) -> None:
    rows = [
        {
            "item": {
                "prompt": "p",
                "response": f"r{n}",
                "rubric": [{"id": "0", "text": f"Is {n}.", "points": 1}],
            },
            "met": {"0": n % 2 == 0},
        }
        for n in range(4)
    ]
    labels = labels_of(tmp_path, rows)
    found = reward_figures(rewards_of(labels, judged_by(labels, [0.9] * 4)), resamples=50)
    assert found["pairwise"].value is None and found["pearson"].n == 4


def test_10_000_rewards_are_the_services() -> None:
    draw = Random(1)
    for _ in range(10_000):
        points = [draw.choice((-7.0, -1.5, 2.0, 9.0)) for _ in range(draw.randint(1, 6))]
        met = [draw.random() < 0.5 for _ in points]
        criteria = [Criterion(id=str(n), text="t", points=worth) for n, worth in enumerate(points)]
        judged = [Judgement(status="ok", source="judge", met=one) for one in met]
        theirs = aggregate(Aggregation("healthbench"), criteria, judged).value
        assert reward(points, [float(one) for one in met]) == pytest.approx(theirs, abs=1e-12)

"""Best-of-N and diversity of a policy's samples, as an evaluation has them."""

import numpy as np
import pytest

from trainer_client.evaluation.answers import Answer
from trainer_client.evaluation.kinds.samples import on_best_of_n, on_diversity


def test_the_judges_choice_is_measured_by_its_word_and_in_truth() -> None:
    scores = {("a", 0): [0.0, 1.0], ("b", 0): [0.5, 0.25]}
    truth = {("a", 0): [1.0, 0.0], ("b", 0): [1.0, 0.0]}
    found = on_best_of_n("p", scores, truth)
    means = {one.name: one.over_seeds().mean for one in found.measures}
    assert means == {
        "judged_best_of_1": pytest.approx((0.5 + 0.375) / 2),
        "judged_best_of_2": pytest.approx((1.0 + 0.5) / 2),
        "true_best_of_1": pytest.approx(0.5),
        "true_best_of_2": pytest.approx((0.0 + 1.0) / 2),
        "oracle_best_of_1": pytest.approx(0.5),
        "oracle_best_of_2": pytest.approx(1.0),
    }
    assert found.curves[0].sizes == [1, 2] and found.missing == 0
    assert list(on_best_of_n("p", scores, None).curves[0].lines) == ["the judge's choice, by its own word"]


def test_samples_without_a_score_are_left_out_and_counted() -> None:
    found = on_best_of_n("p", {("a", 0): [0.25, None, 0.75, 0.5], ("b", 0): [None, None], ("c", 0): [1.0] * 4}, None)
    assert found.missing == 3 and found.curves[0].sizes == [1, 2, 4]
    one, two, four = found.curves[0].lines["the judge's choice, by its own word"]
    assert one is not None and one[0] == pytest.approx((0.5 + 1) / 2)
    assert two is not None and two[0] == pytest.approx(((0.5 + 0.75 + 0.75) / 3 + 1) / 2)
    assert four is not None and four[0] == 1.0, "of the one prompt that has four"
    assert any("2 of 3 prompts have fewer samples" in note for note in found.notes)


def test_diversity_is_of_each_prompt_and_seed() -> None:
    answers = {
        ("a", 0): [Answer("the cat sat on the mat"), Answer("the cat sat on the mat")],
        ("b", 0): [Answer("one two three four"), Answer("five six seven eight")],
    }
    vectors = {("a", 0): np.array([[1.0, 0.0], [1.0, 0.0]]), ("b", 0): np.array([[1.0, 0.0], [0.0, 2.0]])}
    found = on_diversity("p", answers, tokenize="13a", vectors=vectors)
    values = {one.name: one.values for one in found.measures}
    assert values["one_minus_self_bleu"]["a"][0] == pytest.approx(0.0)
    assert [values["embedding_distance"][id][0] for id in "ab"] == pytest.approx([0.0, 1.0])
    assert values["repeated"] == {"a": [0.5], "b": [0.0]} and values["words"]["a"] == [6.0]

"""Diversity of answers, against BLEU calculated by hand and all pairs one by one."""

import math
from itertools import combinations

import numpy as np
import pytest

from trainer_client.evaluation.diversity import embedding_distance, self_bleu_diversity


def test_equal_answers_have_no_diversity_and_one_alone_none_at_all() -> None:
    assert self_bleu_diversity(["the cat sat on the mat"] * 3) == pytest.approx(0.0)
    assert self_bleu_diversity(["alone"]) is None
    assert self_bleu_diversity(["aa bb cc dd ee", "ff gg hh ii jj"]) > 0.9  # type: ignore[operator]


def test_self_bleu_is_the_mean_bleu_of_each_answer_against_the_others() -> None:
    """ "a b c d e" and "a b c d f" share 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 runs of four."""
    bleu = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert self_bleu_diversity(["a b c d e", "a b c d f"]) == pytest.approx(1 - bleu)
    # The third one has a reference that it equals and is equal to: only "a b c d f" is new, against either.
    assert self_bleu_diversity(["a b c d e", "a b c d f", "a b c d e"]) == pytest.approx(1 - (1 + bleu + 1) / 3)


def test_the_distance_is_the_mean_over_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 5))
    pairs = [
        1 - float(one @ other) / (math.hypot(*one) * math.hypot(*other)) for one, other in combinations(vectors, 2)
    ]
    assert embedding_distance(vectors) == pytest.approx(sum(pairs) / len(pairs))
    assert embedding_distance(vectors[:1]) is None
    assert embedding_distance(np.zeros((3, 2))) is None

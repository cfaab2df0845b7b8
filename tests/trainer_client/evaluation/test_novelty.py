"""RuscaRL's sequence ratio, by hand."""

import math

import pytest

from trainer_client.evaluation.novelty import log_ratio, novelty, sampled_entropy


def test_the_ratio_is_the_geometric_mean_of_the_tokens() -> None:
    trained, base = [math.log(0.5), math.log(0.8)], [math.log(0.25), math.log(0.1)]
    assert math.exp(log_ratio(trained, base) or 0) == pytest.approx(math.sqrt(2 * 8))
    assert log_ratio([], []) is None
    with pytest.raises(ValueError, match="2 tokens"):
        log_ratio(trained, [0.0])


def test_mean_median_and_tails() -> None:
    found = novelty([math.log(ratio) for ratio in (0.5, 1.0, 3.0, 12.0, 1000.0)])
    assert found is not None
    assert [found.mean, found.median, found.most] == pytest.approx([1016.5 / 5, 3.0, 1000 / 1016.5])
    assert (found.above, found.n) == ((3, 2, 1), 5)
    assert novelty([]) is None
    far = novelty([5000.0, 0.0])
    assert far is not None and math.isfinite(far.mean) and far.above == (1, 1, 1)


def test_entropy_from_drawn_tokens_is_the_mean_surprise() -> None:
    """Of a fair coin it is log 2, whatever was drawn; tokens count, not answers."""
    assert sampled_entropy([[math.log(0.5)] * 3, [math.log(0.5)]]) == pytest.approx(math.log(2))
    assert sampled_entropy([[-1.0, -1.0, -1.0], [-5.0]]) == pytest.approx(2.0)
    assert sampled_entropy([[], []]) is None

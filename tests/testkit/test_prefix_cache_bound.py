"""How much a prefix cache can save, counted and by the closed form."""

import random

import pytest

from testkit import prefix_cache_bound


def _made(conversation: int, responses: list[int], criteria: int, seed: int) -> list[tuple[int, ...]]:
    """Prompts of these lengths in which nothing else is alike."""
    tokens = iter(range(seed * 10_000_000, (seed + 1) * 10_000_000))
    rng = random.Random(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(next(tokens) for _ in range(count))

    begin = some(conversation)
    return [
        shared + some(rng.randint(40, 80))
        for shared in [begin + some(length) for length in responses]
        for _ in range(criteria)
    ]


@pytest.mark.parametrize("block", [1, 16, 128])
@pytest.mark.parametrize("seed", range(5))
def test_the_closed_form_counts_as_a_cache_does(block: int, seed: int) -> None:
    rng = random.Random(seed)
    conversation, criteria = rng.randint(1, 900), rng.randint(1, 13)
    responses = [rng.randint(1, 900) for _ in range(rng.randint(1, 9))]
    counted = prefix_cache_bound.cached(_made(conversation, responses, criteria, seed), block)
    assert prefix_cache_bound.group_cached(conversation, responses, criteria, block) == counted


def test_the_published_figure_for_one_response() -> None:
    """12 criteria of 40 tokens on 1,700: 89.3 % in blocks of 16 (1,696 of 1,740 tokens in 11 of 12 prompts)."""
    assert prefix_cache_bound.group_cached(500, [1200], 12, 16) / (12 * 1740) == pytest.approx(0.893, abs=5e-4)


def test_a_prompt_that_is_known_to_its_end_computes_its_last_token() -> None:
    assert prefix_cache_bound.cached([tuple(range(256))] * 2, 128) == 128
    assert prefix_cache_bound.cached([tuple(range(257))] * 2, 128) == 256

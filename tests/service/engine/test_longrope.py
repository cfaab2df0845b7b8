"""One set of factors a judge, by vLLM's rule."""

from typing import Any

import pytest
from transformers import LlamaConfig, Phi3Config

from service.engine.longrope import chosen_factors, default_context, factors_facts, original_context

LONGROPE: dict[str, Any] = {
    "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
}
PHI3 = Phi3Config(
    hidden_size=64,
    num_attention_heads=4,
    max_position_embeddings=512,
    original_max_position_embeddings=128,
    pad_token_id=0,
    **LONGROPE,
)


@pytest.mark.parametrize(("longest", "factors"), [(64, "short"), (128, "short"), (129, "long"), (512, "long")])
def test_the_longest_prompt_that_is_accepted_chooses(longest: int, factors: str) -> None:
    assert chosen_factors(PHI3, longest) == factors
    assert factors_facts(PHI3, longest) == {"longrope_factors": factors}
    assert (original_context(PHI3), default_context(PHI3)) == (128, 128)


def test_other_models_have_one_set() -> None:
    dynamic: dict[str, Any] = {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    for config in (LlamaConfig(), LlamaConfig(**dynamic)):
        assert (original_context(config), default_context(config), factors_facts(config, 10)) == (None, None, {})

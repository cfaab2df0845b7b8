"""Says by which factors a LongRoPE model judges: one set for every prompt of a judge, as vLLM has it. Pure.

Such a model (Phi-3.5, Phi-4-mini) was made with two sets of factors, for its original context and for a longer one.
transformers chooses by the longest prompt of a pass, so a verdict would depend on what is judged beside it. vLLM (0.32)
chooses once, by the longest prompt that it accepts; so does engine `local`, and their verdicts agree.

The functions take a configuration as transformers reads it.
"""

from typing import Any, Literal

Factors = Literal["short", "long"]
ROPE_TYPE = "longrope"


def original_context(config: Any) -> int | None:
    """The length in tokens up to which the short factors were made, None for a model that has one set."""
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, dict):
        return None
    # By type of layer, where these differ.
    each = [parameters, *(one for one in parameters.values() if isinstance(one, dict))]
    lengths = [one["original_max_position_embeddings"] for one in each if one.get("rope_type") == ROPE_TYPE]
    return min(lengths, default=None)


def default_context(config: Any) -> int | None:
    """The longest prompt without a setting, by vLLM's rule; None for a model that has one set."""
    return None if original_context(config) is None else getattr(config, "original_max_position_embeddings", None)


def chosen_factors(config: Any, max_model_len: int) -> Factors | None:
    """The set by which a judge of this longest prompt judges, None for a model that has one set."""
    original = original_context(config)
    if original is None:
        return None
    return "long" if max_model_len > original else "short"


def factors_facts(config: Any, max_model_len: int) -> dict[str, str]:
    """The fact of a judge's identity that says so; none for a model that has one set."""
    factors = chosen_factors(config, max_model_len)
    return {} if factors is None else {"longrope_factors": factors}

"""Fixes a model's rotary embeddings when it is loaded, so that none depends on the longest prompt of a pass.

transformers recomputes the frequencies of rope types `longrope` and `dynamic` in each pass, for its longest prompt.

Guarantees: after `fix_frequencies` no pass changes a frequency. LongRoPE has the factors of `chosen_factors`, `dynamic`
those of the model's own context, which bounds every prompt.
"""

from typing import Any

from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from service.engine.longrope import ROPE_TYPE

# transformers recomputes nothing for a type that it does not know.
_FIXED = "fixed"


def fix_frequencies(model: Any, max_model_len: int) -> None:
    for module in model.modules():
        rope_type = getattr(module, "rope_type", None)
        if isinstance(rope_type, str):
            module.rope_type = _fix(module, rope_type, None, max_model_len)
        elif isinstance(rope_type, dict):
            module.rope_type = {layer: _fix(module, kind, layer, max_model_len) for layer, kind in rope_type.items()}


def _fix(module: Any, rope_type: str, layer_type: str | None, max_model_len: int) -> str:
    """Returns the type that the module is to have from now on."""
    if rope_type == ROPE_TYPE:
        parameters = module.config.rope_parameters
        original = (parameters if layer_type is None else parameters[layer_type])["original_max_position_embeddings"]
        if max_model_len > original:
            name = "inv_freq" if layer_type is None else f"{layer_type}_inv_freq"
            held = getattr(module, name)
            kwargs = {} if layer_type is None else {"layer_type": layer_type}
            made, _ = ROPE_INIT_FUNCTIONS[rope_type](module.config, held.device, seq_len=original + 1, **kwargs)
            module.register_buffer(name, made, persistent=False)
        return _FIXED
    return _FIXED if "dynamic" in rope_type else rope_type

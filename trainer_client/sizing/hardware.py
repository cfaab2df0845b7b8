"""Holds the published shapes of judge models and GPUs, and reads another judge's shape from its config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Dtype = Literal["bf16", "fp8"]


class SizingError(ValueError):
    """A judge or a job cannot be sized. The message says what to change."""


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """A dense decoder with attention in every layer."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool = False

    @property
    def inner_parameters(self) -> int:
        """The parameters without the embeddings: each token of a prompt is multiplied with all of them."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def outer_parameters(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        return self.inner_parameters + self.outer_parameters

    @property
    def kv_bytes(self) -> int:
        """Bytes of KV cache of one token, two bytes a number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2

    def weight_bytes(self, dtype: Dtype) -> int:
        """Bytes of the weights; embeddings have two bytes a number in either type."""
        return self.inner_parameters * (2 if dtype == "bf16" else 1) + 2 * self.outer_parameters

    def flops(self, new: float, known: float) -> float:
        """Floating-point operations of `new` tokens after `known` ones: products with the weights, then attention."""
        attention = 4.0 * self.layers * self.heads * self.head_dim
        return 2.0 * self.inner_parameters * new + attention * (new * known + new * new / 2)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: dense peaks in TFLOP/s, bandwidth in TB/s, memory in GiB."""

    name: str
    bf16: float
    fp8: float | None
    bandwidth: float
    gib: float

    def peak(self, dtype: Dtype) -> float:
        """The dense peak in FLOP/s. Raises SizingError for a type that the GPU does not compute in."""
        tflops = self.bf16 if dtype == "bf16" else self.fp8
        if tflops is None:
            raise SizingError(f"{self.name} does not compute in FP8: take --dtype bf16, or another --gpu")
        return tflops * 1e12


JUDGES: Mapping[str, JudgeModel] = MappingProxyType(
    {
        "1.5B": JudgeModel("Qwen2.5-1.5B", 28, 1536, 12, 2, 128, 8960, 151_936, tied=True),
        "7B": JudgeModel("Qwen2.5-7B", 28, 3584, 28, 4, 128, 18_944, 152_064),
        "8B": JudgeModel("Qwen3-8B", 36, 4096, 32, 8, 128, 12_288, 151_936),
        "14B": JudgeModel("Qwen3-14B", 40, 5120, 40, 8, 128, 17_408, 151_936),
        "32B": JudgeModel("Qwen3-32B", 64, 5120, 64, 8, 128, 25_600, 151_936),
        "72B": JudgeModel("Qwen2.5-72B", 80, 8192, 64, 8, 128, 29_568, 152_064),
    }
)
GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "H200": Gpu("H200", 989, 1979, 4.8, 139),
        "H100": Gpu("H100", 989, 1979, 3.35, 79),
        "A100": Gpu("A100", 312, None, 2.0, 79),
        "L4": Gpu("L4", 121, 242, 0.3, 22),
    }
)


def judge_of(config: Mapping[str, Any], name: str) -> JudgeModel:
    """The shape in a checkpoint's config.json. Raises SizingError for a model that this arithmetic does not cover."""
    inner = config.get("text_config", config)
    if any("expert" in key and value for key, value in inner.items()):
        raise SizingError(f"{name} is a mixture of experts, and the formula does not cover it: measure it")
    if any(kind == "linear_attention" for kind in inner.get("layer_types") or ()):
        raise SizingError(f"{name} has layers without attention, and the formula does not cover it: measure it")
    heads = _number(inner, "num_attention_heads", name)
    hidden = _number(inner, "hidden_size", name)
    return JudgeModel(
        name=name,
        layers=_number(inner, "num_hidden_layers", name),
        hidden=hidden,
        heads=heads,
        kv_heads=_number(inner, "num_key_value_heads", name, heads),
        head_dim=_number(inner, "head_dim", name, hidden // heads),
        intermediate=_number(inner, "intermediate_size", name),
        vocabulary=_number(inner, "vocab_size", name),
        tied=bool(inner.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
    )


def _number(config: Mapping[str, Any], key: str, name: str, default: int | None = None) -> int:
    found = config.get(key)
    found = default if found is None else found
    if not isinstance(found, int) or found < 1:
        raise SizingError(f"{name}: `{key}` is missing or no number; give the config.json of a decoder")
    return found

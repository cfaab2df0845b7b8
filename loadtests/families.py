"""Does vLLM in this service judge with any chat model? Families of models, each with its own kind of tokenizer, chat
template, architecture and positions, random weights, asked in every way: `vllm` must read what `local` reads.

vLLM's own decisions route refuses some of these families. A vLLM is started for each, about half a minute on two cores.

    python -m loadtests.families [--only llama,qwen3_moe]
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from service.engine.base import LabelLogprobs, LabelQuery, Prompt
from service.engine.local.engine import LocalEngine
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import Options
from service.modes.modes import JudgingMode, Query, render_prompts
from service.modes.registry import judging_modes
from service.scoring.canary import CANARY_CANDIDATES
from service.settings import ModeSettings
from testkit.tokenizer_families import family

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1}
WINDOWS = {"sliding_window": 64}
GEMMA3 = {"query_pre_attn_scalar": 32, "layer_types": ["sliding_attention", "full_attention"], **WINDOWS}
FACTORS = {"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0 + n for n in range(16)]}
# Its default ids are beyond a small vocabulary.
PHI3 = {"original_max_position_embeddings": 1024, "rope_scaling": FACTORS, "pad_token_id": 0, "eos_token_id": 0}
FAMILIES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "qwen2": ("qwen", Qwen2Config, {}),
    "qwen3": ("qwen", Qwen3Config, {}),
    "qwen3_moe": ("qwen", Qwen3MoeConfig, EXPERTS),
    "llama": ("llama3", LlamaConfig, {}),
    "mistral": ("mistral", MistralConfig, {}),
    "windows": ("mistral", MistralConfig, WINDOWS),
    "gemma3": ("qwen", Gemma3TextConfig, GEMMA3),
    "dynamic": ("llama3", LlamaConfig, {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
    "phi3_short": ("qwen", Phi3Config, PHI3),
    "phi3_long": ("qwen", Phi3Config, PHI3),
}
"""Tokenizer, configuration, and what differs from SMALL."""
MAX_MODEL_LEN = {"phi3_short": None}
"""What is set, where it is not SMALL's: without a setting both engines have to choose the same."""
APART = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    family: str
    asked: int
    judging_modes: int
    largest_apart: float

    @property
    def agrees(self) -> bool:
        return self.largest_apart <= APART


def make(folder: Path, name: str) -> Any:
    """A random checkpoint of the family with its tokenizer, which is returned."""
    tokens, config, more = FAMILIES[name]
    tokenizer = family(tokens)
    torch.manual_seed(3)
    maker: Any = AutoModelForCausalLM
    maker.from_config(config(vocab_size=len(tokenizer), **SMALL, **more)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def questions(asked: Mapping[tuple[str, str], JudgingMode]) -> list[tuple[Sequence[Prompt], tuple[int, ...]]]:
    """Prompts and labels of the canaries in every way that reads labels."""
    found: list[tuple[Sequence[Prompt], tuple[int, ...]]] = []
    for (mode, _), judging_mode in asked.items():
        if mode == "reasoned":
            continue
        whole = mode != "verdict"
        each = [
            Query(one, None if whole else c)
            for one in CANARY_CANDIDATES
            for c in (one.criteria[:1] if whole else one.criteria)
        ]
        rendered = render_prompts(judging_mode.renderer, each, "", 0)
        ask = judging_mode.first_step(rendered[0], each[0]).query
        found.append((rendered, ask.label_ids if isinstance(ask, LabelQuery) else ()))
    return found


async def check(name: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = make(Path(folder), name)
        longest = MAX_MODEL_LEN.get(name, 2048)
        local = LocalEngine.load(folder, device="cpu", dtype="float32", max_model_len=longest)
        vllm = await VllmEngine.load(folder, Options(dtype="float32", kv_cache_gb=1, max_model_len=longest))
        if vllm.max_model_len != local.max_model_len:
            raise SystemExit(f"{name}: {vllm.max_model_len} and {local.max_model_len} tokens")
        asked = judging_modes(vllm.identity, tokenizer, ModeSettings())
        apart, count = 0.0, 0
        try:
            for rendered, label_ids in questions(asked):
                pairs = zip(
                    await local.read_labels(rendered, label_ids),
                    await vllm.read_labels(rendered, label_ids),
                    strict=True,
                )
                for a, b in pairs:
                    if not isinstance(a, LabelLogprobs) or not isinstance(b, LabelLogprobs):
                        raise SystemExit(f"{name}: {a} {b}")
                    count += 1
                    apart = max(apart, *(abs(x - y) for x, y in zip(a.logprobs, b.logprobs, strict=True)))
        finally:
            await vllm.stop()
            await local.stop()
    return Row(name, count, len(asked), apart)


def main() -> int:
    """Exit status 0 where the engines agree on every family, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(FAMILIES))
    names = parser.parse_args().only.split(",")
    print(f"{'family':<12}{'modes':>6}{'reads':>7}{'largest difference of a log-probability':>42}")
    rows = []
    for name in names:
        rows.append(asyncio.run(check(name)))
        print(f"{name:<12}{rows[-1].judging_modes:>6}{rows[-1].asked:>7}{rows[-1].largest_apart:>42.1e}", flush=True)
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Tiny random-weight checkpoints of real architectures. Their verdicts mean nothing, their arithmetic is real."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from service.engine.checkpoint import Dtype, load_checkpoint
from service.engine.local.engine import LocalEngine

VOCABULARY = 300
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Wide, so that verdicts differ enough between prompts for a mistake to show.
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LONGROPE = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0 + n for n in range(8)]}


def _rescaled(positions: Any) -> dict[str, Any]:
    return {"rope_scaling": positions}


LAYERS = {kind: [kind, "full_attention"] for kind in ("sliding_attention", "chunked_attention")}
CONFIGS: dict[str, Callable[[], Any]] = {
    "qwen2": lambda: Qwen2Config(**_SMALL, tie_word_embeddings=True),
    "llama": lambda: LlamaConfig(**_SMALL),
    "qwen3": lambda: Qwen3Config(**_SMALL, head_dim=32),
    "mixtral": lambda: MixtralConfig(**_SMALL, num_local_experts=4, num_experts_per_tok=2),
    # A window of some layers only, which is longer than any prompt here: no window at all.
    "wide": lambda: MistralConfig(**_SMALL, sliding_window=256),
    "mistral": lambda: MistralConfig(**_SMALL, sliding_window=16),
    "gemma2": lambda: Gemma2Config(
        **_SMALL, head_dim=16, query_pre_attn_scalar=16, sliding_window=16, attn_logit_softcapping=2.0
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **_SMALL, head_dim=16, query_pre_attn_scalar=16, sliding_window=24, layer_types=LAYERS["sliding_attention"]
    ),
    # A chunk is longer than the prompts that are tried first.
    "llama4": lambda: Llama4TextConfig(
        **_SMALL,
        head_dim=16,
        intermediate_size_mlp=64,
        num_local_experts=2,
        attention_chunk_size=80,
        layer_types=LAYERS["chunked_attention"],
    ),
    # Two sets of factors, and frequencies that grow with the longest prompt of a pass.
    "phi3": lambda: Phi3Config(**_SMALL, original_max_position_embeddings=64, **_rescaled(LONGROPE)),
    "dynamic": lambda: LlamaConfig(**_SMALL, **_rescaled({"rope_type": "dynamic", "factor": 4.0})),
    # What happens to logits behind the head: a scale, another one, a bias. (Gemma 2 caps them.)
    "granite": lambda: GraniteConfig(**_SMALL, logits_scaling=8.0),
    "cohere": lambda: CohereConfig(**_SMALL, logit_scale=0.25),
    "phi": lambda: PhiConfig(**_SMALL),
    # Layers whose state is no list of keys and values: nothing to repeat.
    "mamba": lambda: MambaConfig(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, state_size=8),
    "lfm2": lambda: Lfm2Config(**_SMALL, layer_types=["conv", "full_attention"]),
}


def tokenizer() -> Any:
    """Every byte is a token, so that a random model can write anything; ids 1 and 2 are the beginning and the end."""
    letters = sorted(ByteLevel.alphabet())
    ids = {"<pad>": 0, "<s>": 1, "</s>": 2} | {letter: 3 + at for at, letter in enumerate(letters)}
    made = Tokenizer(BPE(vocab=ids, merges=[]))
    made.add_special_tokens(["<pad>", "<s>", "</s>"])
    made.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = ByteLevelDecoder()
    return made


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a checkpoint, by architecture; made once. Do not write into it."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            torch.manual_seed(7)
            made[name] = tmp_path_factory.mktemp(name)
            maker: Any = AutoModelForCausalLM
            maker.from_config(CONFIGS[name]()).save_pretrained(made[name])
            tokenizer().save(str(made[name] / "tokenizer.json"))
        return made[name]

    return make


@pytest.fixture
def load_with_model(checkpoint: Callable[[str], Path]) -> Iterator[Callable[..., tuple[LocalEngine, Any]]]:
    """Loads a local engine by architecture, with the model that it runs; all engines are stopped after the test."""
    engines: list[LocalEngine] = []

    def load_one(name: str = "qwen2", *, dtype: Dtype = "auto", **options: Any) -> tuple[LocalEngine, Any]:
        loaded = load_checkpoint(str(checkpoint(name)), revision=None, dtype=dtype, device="cpu", max_model_len=200)
        given = {"workers": 1} | options  # one, so that a test that breaks a pass knows which
        engines.append(LocalEngine(loaded, **given))
        return engines[-1], loaded.model

    yield load_one
    for engine in engines:
        asyncio.run(engine.stop())


@pytest.fixture
def load(load_with_model: Callable[..., tuple[LocalEngine, Any]]) -> Callable[..., LocalEngine]:
    """Loads a local engine by architecture."""
    return lambda *args, **options: load_with_model(*args, **options)[0]

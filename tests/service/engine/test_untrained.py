"""A checkpoint in which nothing was learned is told from one in which something was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from service.engine.build import MINIATURE
from service.engine.untrained import is_untrained

SHAPE: dict[str, Any] = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}


def test_random_weights_are_told_by_their_scales(tmp_path: Path) -> None:
    config = Qwen3Config(**SHAPE, num_attention_heads=2, num_key_value_heads=2, head_dim=8)
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    assert is_untrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.1.post_attention_layernorm.weight"][3] += 2**-7
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert not is_untrained(tmp_path)


@pytest.mark.parametrize("name", ["judge", "policy"])
def test_what_was_trained_is_not_taken_for_random(name: str) -> None:
    assert not is_untrained(MINIATURE.with_name(name))


def test_without_scales_nothing_is_said(tmp_path: Path) -> None:
    save_file({"model.embed_tokens.weight": torch.zeros(4, 4)}, tmp_path / "model.safetensors")
    assert not is_untrained(tmp_path)
    GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    assert not is_untrained(tmp_path), "its layers are called ln_1; a name that is not known tells nothing"

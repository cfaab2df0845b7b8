"""Saves a policy of a few thousand weights, which reads the miniature's words."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from service.engine.build import MINIATURE


def save_policy(folder: Path, *, seed: int = 0, context: int = 512, dtype: torch.dtype = torch.float32) -> str:
    """Its weights are large, so that its words depend on the prompt."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(MINIATURE)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = Qwen2ForCausalLM(config)
    model.to(dtype)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.eos_token_id] *= 4  # some of its answers end by themselves
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)

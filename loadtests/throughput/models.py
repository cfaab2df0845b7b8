"""The models that are compared on: random weights in a real architecture, with a tokenizer trained here.

Guarantees: The same Python makes the same files. `Yes` and `No`, `true` and `false` are one token each after a prompt.
The tokenizer learns from made-up text and from the reference pages that come with Python, so that English costs about
as many tokens as it does in a real one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from loadtests.throughput.workload import sentences

Kind = Literal["request", "compute"]

LABELS = ("Yes", "No")
LONGEST = 4_096
VOCABULARY = 8_192
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_WHOLE_WORDS = ("Yes", "No", "true", "false", " Yes", " No", " true", " false")
_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """`width` of the hidden state, in heads of 64 (of 32 where it is small), two of them on one key-value head."""

    kind: Kind
    width: int
    inner: int
    layers: int


SHAPES: dict[Kind, Shape] = {
    "request": Shape("request", width=64, inner=128, layers=2),
    "compute": Shape("compute", width=768, inner=2_688, layers=12),
}


def make(folder: Path, shape: Shape) -> int:
    """Save model and tokenizer; returns the number of parameters."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    heads = shape.width // (32 if shape.width < 128 else 64)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=LONGEST,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    maker: Any = AutoModelForCausalLM
    model = maker.from_config(config)
    model.save_pretrained(folder)
    train_tokenizer().save_pretrained(folder)
    return int(model.num_parameters())


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a ChatML template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(), trainer)
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_CHATML,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
    )


def _corpus() -> Iterator[str]:
    yield from (text for _, text in sorted(topics.items()))
    yield from (sentences(f"tokenizer {n}", 200) for n in range(500))
    yield from _WHOLE_WORDS * 200

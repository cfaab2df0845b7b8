"""The miniature's tokenizer: byte-level BPE trained on the world's own text, with a ChatML template.

Guarantees: Any text round-trips, because every byte is in the vocabulary. ` Yes` and ` No` are single tokens.
"""

from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from miniature.world.cases import training
from service.prompting.wording import shipped_prompt

LONGEST = 4096
LABELS = ("Yes", "No")
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(
    *, vocabulary: int, cases: int = 4000, corpus: Iterable[str] | None = None
) -> PreTrainedTokenizerFast:
    """A tokenizer in which the words of the corpus (the judge's, of `cases` cases) are mostly one token each."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(cases) if corpus is None else corpus, trainer)
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


def _corpus(cases: int) -> Iterator[str]:
    wording = shipped_prompt().in_words(LABELS)
    for index in range(cases):
        case = training(-1, index)
        yield from (text for _, text in case.turns)
        yield case.response
        yield from (criterion.text for criterion in case.criteria)
        if index % 10 == 0:
            yield wording.instructions
            yield f"\n\n{wording.question}"
            yield "system\nuser\nassistant\n# Conversation\nuser:\nassistant:\n"
            yield "# Response\n# Criterion\n# Reference answer\n"
            yield from (f"Answer: {label}" for label in LABELS)

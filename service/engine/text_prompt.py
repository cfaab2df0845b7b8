"""Carries texts through a queue that is made for token ids, for engines whose servers read texts.

A word is four bytes of UTF-8, about what a tokenizer makes a token of, so that queue, quotas and limits count in the
same unit whatever the engine is.

Guarantees: `texts_of` gives back exactly the texts that `words_of` took.
"""

import struct

from service.engine.base import Prompt

BYTES_PER_WORD = 4
_PADDING = b"\xff"
"""No byte of UTF-8."""


def words_of(text: str) -> tuple[int, ...]:
    """The text as words, the last one filled up."""
    raw = text.encode("utf-8")
    raw += _PADDING * (-len(raw) % BYTES_PER_WORD)
    return struct.unpack(f">{len(raw) // BYTES_PER_WORD}I", raw)


def text_of(words: tuple[int, ...]) -> str:
    return struct.pack(f">{len(words)}I", *words).rstrip(_PADDING).decode("utf-8")


def texts_of(prompt: Prompt) -> tuple[str, str]:
    """What a prompt's criteria share, and its own text."""
    return text_of(prompt.shared), text_of(prompt.own)

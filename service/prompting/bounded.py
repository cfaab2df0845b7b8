"""Tokenises a request's untrusted texts step by step, and no further than the judge's context.

A text that is longer than the context is found out by its length alone where that tells, and else by counting piece
after piece, so that time and memory follow the context and not the text.

Guarantees: the ids of a text come from one call for the whole text, as without a bound. A step is one call for about
`PIECE_CHARACTERS` characters, or for one text that fits or nearly fits the context. A text that the pieces refuse is
one whose pieces hold a quarter more tokens than the context, besides what cuts can add.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

PIECE_CHARACTERS = 16_384
_MARGIN = 4
"""The pieces' tokens may exceed the context by this part of it, a fourth, and by `_CUT_TOKENS` for each piece."""
_CUT_TOKENS = 128
"""A cut inside a long word makes up to 100 tokens of what is one for WordPiece, and a few for other tokenizers."""


class TextMeasure(Protocol):
    """Makes ids of texts, in the unit of the judge's context."""

    def surely_exceeds(self, text: str, tokens: int) -> bool: ...

    def encode_untrusted_all(self, texts: Iterable[str]) -> list[tuple[int, ...]]: ...


class BoundedTexts:
    """The token ids of one request's texts: each different text is tokenised once. `known` has those that may fit into
    `limit_tokens`, `too_long` those that do not."""

    def __init__(self, segmenter: TextMeasure, limit_tokens: int) -> None:
        self.known: dict[str, tuple[int, ...]] = {}
        self.too_long: set[str] = set()
        self._segmenter = segmenter
        self._limit_tokens = limit_tokens
        # A text has at most about as many tokens as bytes: one of so few characters is not counted before.
        self._uncounted = max(PIECE_CHARACTERS, limit_tokens)

    def tokenise(self, texts: Iterable[str]) -> Iterator[None]:
        """Tokenises the texts and yields after each step. `texts` is read as it goes."""
        batch: dict[str, None] = {}
        characters = 0
        for text in texts:
            if text in self.known or text in batch or text in self.too_long:
                continue
            if len(text) > PIECE_CHARACTERS:
                yield from self._tokenise_long(text)
                continue
            batch[text] = None
            characters += len(text)
            if characters >= PIECE_CHARACTERS:
                self._tokenise_batch(batch)
                batch, characters = {}, 0
                yield
        if batch:
            self._tokenise_batch(batch)
            yield

    def tokens(self, texts: Iterable[str]) -> int | None:
        """The texts' tokens together; None where one of them is too long. All were tokenised before."""
        tokens = 0
        for text in texts:
            if text in self.too_long:
                return None
            tokens += len(self.known[text])
        return tokens

    def _tokenise_batch(self, batch: Iterable[str]) -> None:
        batch = list(batch)
        for text, ids in zip(batch, self._segmenter.encode_untrusted_all(batch), strict=True):
            self.known[text] = ids

    def _tokenise_long(self, text: str) -> Iterator[None]:
        if self._segmenter.surely_exceeds(text, self._limit_tokens):
            self.too_long.add(text)
            return
        if len(text) > self._uncounted:
            tokens, allowed = 0, self._limit_tokens + self._limit_tokens // _MARGIN
            for start in range(0, len(text), PIECE_CHARACTERS):
                piece = text[start : start + PIECE_CHARACTERS]
                tokens += len(self._segmenter.encode_untrusted_all([piece])[0])
                allowed += _CUT_TOKENS
                yield
                if tokens > allowed:
                    self.too_long.add(text)
                    return
        self._tokenise_batch([text])
        yield

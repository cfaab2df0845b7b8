"""Knows how a server prints tokens that it reports by their text.

Guarantees: a label is recognised by a text that no other token of the judge's vocabulary has; labels that have no such
text are refused when the service starts.
"""

from collections import Counter
from typing import Any

from service.errors import ConfigurationError

_REMEDY = "choose other `labels`, or leave `remote_token_ids` on with a server that reports tokens by id (vLLM)"


class TokenTexts:
    """`tokenizer` is the judge's. A token's text is what it decodes to alone, as vLLM prints it."""

    def __init__(self, tokenizer: Any) -> None:
        backend = tokenizer.backend_tokenizer
        alone = [[id] for id in range(backend.get_vocab_size(with_added_tokens=True))]
        self._texts: list[str] = backend.decode_batch(alone, skip_special_tokens=False)
        self._count = Counter(self._texts)

    def __call__(self, label_ids: tuple[int, ...]) -> tuple[str, ...]:
        """The labels' texts, in order."""
        return tuple(self._texts[id] for id in label_ids)

    def check(self, label_ids: tuple[int, ...]) -> None:
        """Raises ConfigurationError for labels that a text cannot tell from every other token."""
        for text in self(label_ids):
            if not text or "\N{REPLACEMENT CHARACTER}" in text:
                raise ConfigurationError(f"the server prints a label's token as {text!r}, which is no text: {_REMEDY}")
            if (others := self._count[text] - 1) > 0:
                tokens = "another token" if others == 1 else f"{others} other tokens"
                raise ConfigurationError(f"the server prints {tokens} as {text!r} like a label's: {_REMEDY}")

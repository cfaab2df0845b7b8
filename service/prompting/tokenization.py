"""Text to token ids, with a wall between what the service wrote and what it was sent.

Always true: `untrusted` yields no id of an added token of the tokenizer, special or not (`<|im_end|>`, `<think>`), and
text is never joined before it is tokenised, so that pieces cannot re-form one.
"""

import json
from collections.abc import Iterable
from typing import Any, Protocol

from tokenizers import Tokenizer

from service.errors import ConfigurationError


class ChatTokenizer(Protocol):
    """What is used of a Hugging Face tokenizer: its fast backend and its chat template."""

    @property
    def backend_tokenizer(self) -> Tokenizer: ...

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: Any) -> Any: ...


def _never_prepend(part: Any) -> Any:
    """A normaliser or pre-tokeniser without the space that some tokenizers put before a text's first word: a segment is
    a piece of a longer text and has no first word."""
    if isinstance(part, list):
        return [_never_prepend(p) for p in part if not (isinstance(p, dict) and p.get("type") == "Prepend")]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    kept = {key: _never_prepend(value) for key, value in part.items()}
    if kept.get("type") == "Metaspace":
        kept |= {"prepend_scheme": "never"}
    if kept.get("type") == "ByteLevel":
        kept |= {"add_prefix_space": False}
    return kept


def _segment_spec(spec: dict[str, Any]) -> dict[str, Any]:
    inner = {"normalizer", "pre_tokenizer"}
    joined = {key: _never_prepend(value) if key in inner else value for key, value in spec.items()}
    return joined | {"post_processor": None, "truncation": None, "padding": None}


class Segmenter:
    """Tokenises template pieces (`trusted`) and everything a caller sent (`untrusted`)."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigurationError("the judge needs a fast tokenizer (a tokenizer.json); this one has none")
        spec = _segment_spec(json.loads(backend.to_str()))
        self._trusted = Tokenizer.from_str(json.dumps(spec))
        self._plain = Tokenizer.from_str(json.dumps(spec | {"added_tokens": []}))
        self._control = frozenset(
            token["id"] for token in spec["added_tokens"] if token["special"] or _is_markup(str(token["content"]))
        )

    def encode_trusted(self, text: str) -> tuple[int, ...]:
        """Ids of a template piece; control tokens in it are control tokens."""
        return tuple(self._trusted.encode(text, add_special_tokens=False).ids)

    def encode_untrusted(self, text: str) -> tuple[int, ...]:
        """Ids of a caller's text; control tokens in it are plain characters."""
        ids: tuple[int, ...] = tuple(self._plain.encode(text, add_special_tokens=False).ids)
        return ids if self._control.isdisjoint(ids) else self._spelled(text)

    def encode_untrusted_all(self, texts: Iterable[str]) -> list[tuple[int, ...]]:
        """`untrusted` of each text, tokenised together."""
        texts = list(texts)
        encoded = [tuple(e.ids) for e in self._plain.encode_batch_fast(texts, add_special_tokens=False)]
        return [
            ids if self._control.isdisjoint(ids) else self._spelled(text)
            for text, ids in zip(texts, encoded, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        return str(self._plain.decode(list(ids), skip_special_tokens=False))

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that no untrusted text may yield."""
        return self._control

    def _spelled(self, text: str) -> tuple[int, ...]:
        """Character by character, for vocabularies whose ordinary merges would spell a control token."""
        return tuple(id for char in text for id in self._plain.encode(char, add_special_tokens=False).ids)


def _is_markup(content: str) -> bool:
    """Added tokens that are not flagged special but steer the model: `<think>`, `[TOOL_CALLS]`. White space and single
    characters are ordinary text that some vocabularies list as added."""
    return len(content.strip("\u2581 \t\r\n")) > 1

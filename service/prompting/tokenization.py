"""Tokenises text so that a caller's text cannot become control tokens.

Guarantees: `encode_untrusted` yields no id of a control token, whether the tokenizer flags it as special or not
(`<|im_end|>`, `<think>`). Text is tokenised segment by segment and not joined before, so that segments cannot form a
control token together.
"""

import json
from collections.abc import Iterable
from typing import Any, Protocol

from tokenizers import Tokenizer

from service.errors import ConfigurationError


class ChatTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used here: its fast backend and its chat template."""

    @property
    def backend_tokenizer(self) -> Tokenizer: ...

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: Any) -> Any: ...


def _without_prepended_space(part: Any) -> Any:
    """Returns a normaliser or pre-tokeniser without the space that some tokenizers put before a text's first word: a
    segment is a part of a longer text and has no first word."""
    if isinstance(part, list):
        return [_without_prepended_space(p) for p in part if not (isinstance(p, dict) and p.get("type") == "Prepend")]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    kept = {key: _without_prepended_space(value) for key, value in part.items()}
    if kept.get("type") == "Metaspace":
        kept |= {"prepend_scheme": "never"}
    if kept.get("type") == "ByteLevel":
        kept |= {"add_prefix_space": False}
    return kept


def _segment_spec(spec: dict[str, Any]) -> dict[str, Any]:
    inner = {"normalizer", "pre_tokenizer"}
    joined = {key: _without_prepended_space(value) if key in inner else value for key, value in spec.items()}
    return joined | {"post_processor": None, "truncation": None, "padding": None}


class Segmenter:
    """Tokenises template pieces (`trusted`) and everything a caller sent (`untrusted`)."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigurationError("the judge needs a fast tokenizer (a tokenizer.json); this one has none")
        spec = _segment_spec(json.loads(backend.to_str()))
        self._trusted = Tokenizer.from_str(json.dumps(spec))
        # Without added tokens no text can be matched to one; ordinary merges may still spell one, see below.
        self._plain = Tokenizer.from_str(json.dumps(spec | {"added_tokens": []}))
        self._control = frozenset(
            token["id"] for token in spec["added_tokens"] if token["special"] or _is_markup(str(token["content"]))
        )

    def encode_trusted(self, text: str) -> tuple[int, ...]:
        """Ids of a piece of the template; control tokens in it are control tokens."""
        return tuple(self._trusted.encode(text, add_special_tokens=False).ids)

    def encode_untrusted(self, text: str) -> tuple[int, ...]:
        """Ids of a caller's text; control tokens in it are plain characters."""
        ids: tuple[int, ...] = tuple(self._plain.encode(text, add_special_tokens=False).ids)
        return ids if self._control.isdisjoint(ids) else self._encode_by_character(text)

    def encode_untrusted_all(self, texts: Iterable[str]) -> list[tuple[int, ...]]:
        """Ids of each text as `encode_untrusted` returns them, tokenised together, which is faster."""
        texts = list(texts)
        encoded = [tuple(e.ids) for e in self._plain.encode_batch_fast(texts, add_special_tokens=False)]
        return [
            ids if self._control.isdisjoint(ids) else self._encode_by_character(text)
            for text, ids in zip(texts, encoded, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        return str(self._plain.decode(list(ids), skip_special_tokens=False))

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that no untrusted text may yield."""
        return self._control

    def _encode_by_character(self, text: str) -> tuple[int, ...]:
        """Encodes character by character, for vocabularies whose ordinary merges would spell a control token."""
        return tuple(id for char in text for id in self._plain.encode(char, add_special_tokens=False).ids)


def _is_markup(content: str) -> bool:
    """Returns whether an added token that is not flagged special steers the model: `<think>`, `[TOOL_CALLS]`. White
    space and single characters are ordinary text that some vocabularies list as added."""
    return len(content.strip("\u2581 \t\r\n")) > 1

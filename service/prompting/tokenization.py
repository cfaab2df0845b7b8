"""Tokenises text so that a caller's text cannot become control tokens.

Guarantees: `encode_untrusted` yields no id of a control token, whether the tokenizer flags it as special or not
(`<|im_end|>`, `<think>`). Text is tokenised segment by segment and not joined before, so that segments cannot form a
control token together.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

from tokenizers import Tokenizer, pre_tokenizers

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


def control_ids(backend: Tokenizer) -> frozenset[int]:
    """Ids of the tokens that steer a model, which no untrusted text may yield."""
    added = backend.get_added_tokens_decoder().items()
    return frozenset(id for id, token in added if token.special or _is_markup(token.content))


class Segmenter:
    """Tokenises template pieces (`trusted`) and everything a caller sent (`untrusted`). `fingerprint` is a hash of the
    whole tokenizer, as it was loaded."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigurationError("the judge needs a fast tokenizer (a tokenizer.json); this one has none")
        written = backend.to_str()
        spec = _segment_spec(json.loads(written))
        self._trusted = Tokenizer.from_str(json.dumps(spec))
        # Without added tokens no text can be matched to one; ordinary merges may still spell one, see below.
        self._plain = Tokenizer.from_str(json.dumps(spec | {"added_tokens": []}))
        self._control = control_ids(backend)
        self.fingerprint = hashlib.sha256(written.encode()).hexdigest()
        self._reach = token_reach(spec)
        self._known: Mapping[str, tuple[int, ...]] = {}

    def knowing(self, known: Mapping[str, tuple[int, ...]]) -> Self:
        """The same segmenter with the ids of untrusted texts that it has tokenised already."""
        other = copy.copy(self)
        other._known = known
        return other

    def surely_exceeds(self, text: str, tokens: int) -> bool:
        """Returns whether the untrusted text is more than so many tokens, as far as its length alone can tell."""
        if self._reach is None:
            return False
        ascii_characters, other_characters = self._reach
        return len(text) > tokens * (ascii_characters if text.isascii() else other_characters)

    def encode_trusted(self, text: str) -> tuple[int, ...]:
        """Ids of a piece of the template; control tokens in it are control tokens."""
        return tuple(self._trusted.encode(text, add_special_tokens=False).ids)

    def encode_untrusted(self, text: str) -> tuple[int, ...]:
        """Ids of a caller's text; control tokens in it are plain characters."""
        if (known := self._known.get(text)) is not None:
            return known
        ids: tuple[int, ...] = tuple(self._plain.encode(text, add_special_tokens=False).ids)
        return ids if self._control.isdisjoint(ids) else self._encode_by_character(text)

    def encode_untrusted_all(self, texts: Iterable[str]) -> list[tuple[int, ...]]:
        """Ids of each text as `encode_untrusted` returns them, tokenised together, which is faster."""
        texts = list(texts)
        if self._known:
            return [self.encode_untrusted(text) for text in texts]
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


# Components that drop no character: every character of a text is in some token.
_KEEPING_NORMALISERS = frozenset(("NFC", "NFD", "NFKC", "NFKD", "Replace", "Prepend", "Lowercase"))
_KEEPING_PRETOKENISERS = frozenset(("Split", "ByteLevel", "Metaspace", "Digits", "Punctuation"))
_COMPOSED = 4
"""The most code points that composition (NFC, NFKC) makes one of: U+1F82 is four of them, decomposed."""


def token_reach(spec: Mapping[str, Any]) -> tuple[int, int] | None:
    """The most characters of a text that one token of this tokenizer covers: of an ASCII text, and of any other one.
    None where a part of the tokenizer may drop characters, or make one token of any number of them."""
    normalisers, pretokenisers = _parts(spec.get("normalizer")), _parts(spec.get("pre_tokenizer"))
    if not all(map(_keeps, normalisers)) or not all(map(_keeps, pretokenisers)):
        return None
    vocabulary = spec["model"].get("vocab")
    if spec["model"].get("type") != "BPE" or not isinstance(vocabulary, dict):
        return None
    if any(part["type"] == "ByteLevel" for part in pretokenisers):
        every_byte = all(character in vocabulary for character in pre_tokenizers.ByteLevel.alphabet())
    else:
        every_byte = bool(spec["model"].get("byte_fallback")) and all(f"<0x{n:02X}>" in vocabulary for n in range(256))
    if not every_byte:  # what no token covers is dropped, or is one unknown token however long it is
        return None
    longest = max(map(len, vocabulary))
    composes = any(part["type"] in ("NFC", "NFKC") for part in normalisers)
    return longest, longest * (_COMPOSED if composes else 1)


def _parts(part: Any) -> list[Mapping[str, Any]]:
    """A normaliser or pre-tokeniser as the list of its parts."""
    if part is None:
        return []
    inner = part.get("normalizers", part.get("pretokenizers"))
    return [part] if inner is None else [one for each in inner for one in _parts(each)]


def _keeps(part: Mapping[str, Any]) -> bool:
    if part["type"] == "Replace":  # one character by as many or more
        return len(part["pattern"].get("String", "")) == 1 and bool(part["content"])
    if part["type"] in ("Split", "Punctuation") and part.get("behavior") == "Removed":
        return False
    return part["type"] in _KEEPING_NORMALISERS or part["type"] in _KEEPING_PRETOKENISERS


def _is_markup(content: str) -> bool:
    """Returns whether an added token that is not flagged special steers the model: `<think>`, `[TOOL_CALLS]`. White
    space and single characters are ordinary text that some vocabularies list as added."""
    return len(content.strip("\u2581 \t\r\n")) > 1

"""Reads the answers of one policy: it takes the tags of its reasoning from its tokenizer and its chat template.

Guarantees: a policy whose template knows no reasoning loses nothing of a text that does not begin with it, also where
the text quotes a tag. An answer that was cut inside its reasoning is empty. Needs no torch.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer_client import wire
from trainer_client.wire.reasoning import CHANNEL, KNOWN, MESSAGE, Split, Tags

_CONTROL = frozenset({CHANNEL, MESSAGE, "<|start|>", "<|end|>", "<|return|>", "<|call|>"})
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


class PolicyAnswers:
    """Splits what a policy wrote. Without a `tokenizer` the policy is unknown, and the tags of all common families
    count, also where only the closing one is there. `template` are the arguments of its chat template."""

    def __init__(
        self,
        how: wire.Reasoning | Mapping[str, Any] = "remove",
        tokenizer: Any = None,
        template: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for a wrong choice."""
        self._how = _checked(how)
        self._tokenizer = tokenizer
        self._unknown = tokenizer is None
        self._tags: Tags | None = None if isinstance(self._how, str) else self._how.tags()
        self._kept: frozenset[int] = frozenset()
        self._dropped: frozenset[int] = frozenset()
        self._dropped_texts: tuple[str, ...] = ()
        if tokenizer is not None and self._how != "keep":
            self._tags = _tags_of(tokenizer, template or {}, self._tags)
            self._kept, self._dropped = _special_ids(tokenizer, self._tags)
            self._dropped_texts = tuple(tokenizer.added_tokens_decoder[id].content for id in self._dropped)

    @property
    def tags(self) -> Tags | None:
        """The tags of this policy's reasoning; None where it has none of its own."""
        return self._tags

    @property
    def knows_tokens(self) -> bool:
        """Returns whether it can read token ids."""
        return not self._unknown

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a completion without its special tokens, but with those that are tags of reasoning."""
        if not self._kept.isdisjoint(ids):
            ids = [id for id in ids if id not in self._dropped]
            return str(self._tokenizer.decode(ids, skip_special_tokens=False))
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def plain(self, text: str) -> str:
        """A text that was decoded with its special tokens, without those that `decode` leaves out."""
        for token in self._dropped_texts:
            text = text.replace(token, "")
        return text

    def split(self, text: str, *, whole: bool = True) -> Split:
        """Splits one text. Not `whole`: something else has parsed it, so that it need not begin inside the block that
        the template opens."""
        if self._how == "keep":
            return Split(text)
        tags = self._tags
        if tags is not None and tags.prefilled and not whole:
            tags = replace(tags, prefilled=None)
        if tags is None and not self._unknown and not wire.begins_with_open_tag(text):
            return Split(text)
        return wire.split(text, tags)


def _checked(how: wire.Reasoning | Mapping[str, Any]) -> wire.Reasoning:
    if isinstance(how, wire.ReasoningTags) or how in ("keep", "remove"):
        return how
    if isinstance(how, Mapping):
        return wire.ReasoningTags.model_validate(dict(how))
    raise ValueError(f"reasoning is `keep`, `remove` or tags as {{'open': …, 'close': …}}, not {how!r}")


def _tags_of(tokenizer: Any, template: Mapping[str, Any], given: Tags | None) -> Tags | None:
    """The given tags, else those that the tokenizer's response template or its chat template names. Where the
    generation prompt ends in the opening one, it is prefilled."""
    prompt = _generation_prompt(tokenizer, template)
    opened = wire.opened_in(prompt)
    if given is not None:
        if given.prefilled is None and prompt.rstrip().endswith(given.open):
            return replace(given, prefilled=True)
        return given
    if opened:
        return replace(next(tags for tags in KNOWN if tags.open == opened), prefilled=True)
    return _of_response_template(tokenizer) or _of_chat_template(tokenizer)


def _generation_prompt(tokenizer: Any, template: Mapping[str, Any]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        return ""
    turns = [{"role": "user", "content": "?"}]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **template))


def _of_response_template(tokenizer: Any) -> Tags | None:
    """What transformers' `response_template` calls the reasoning; the older `response_schema` is searched for tags."""
    fields = (getattr(tokenizer, "response_template", None) or {}).get("fields", {})
    field = next((fields[name] for name in _REASONING_FIELDS if name in fields), None)
    if field is not None:
        close = field.get("close") or re.sub(r"\\s\*$", "", field.get("close_pattern", ""))
        close = re.sub(r"\\(\W)", r"\1", close)
        known = next((tags for tags in KNOWN if tags.close == close), None)
        if known is not None or not (field.get("open") and close):
            return known
        return Tags(field["open"].strip(), close)
    return _named_in(json.dumps(getattr(tokenizer, "response_schema", None) or "", ensure_ascii=False))


def _of_chat_template(tokenizer: Any) -> Tags | None:
    template = getattr(tokenizer, "chat_template", None) or ""
    if isinstance(template, Mapping):
        template = "".join(map(str, template.values()))
    return _named_in(str(template))


def _named_in(text: str) -> Tags | None:
    return next((tags for tags in KNOWN if tags.close in text), None)


def _special_ids(tokenizer: Any, tags: Tags | None) -> tuple[frozenset[int], frozenset[int]]:
    """The special tokens that stay in a text because they belong to reasoning, and the others."""
    special = {id: token.content for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    wanted = {text for one in (tags, *KNOWN) if one is not None for text in (one.open, one.close)}
    if CHANNEL in special.values():  # `<|end|>` alone ends a turn of Phi's
        wanted |= _CONTROL
    kept = frozenset(id for id, text in special.items() if text in wanted)
    return kept, frozenset(special) - kept

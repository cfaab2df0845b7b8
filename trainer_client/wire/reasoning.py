"""Splits a policy's text into its reasoning and the answer that a reader of the policy is shown. Pure.

Guarantees: a text without a tag is its own answer, character for character. A tag between two backticks or quotation
marks is quoted, not used. Reasoning that does not end leaves nothing of itself in the answer.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Ending = Literal["none", "finished", "unfinished"]


@dataclass(frozen=True, slots=True)
class Tags:
    """What opens and what closes the reasoning of one policy. `prefilled`: its chat template opens it, so that the text
    begins inside; None: it may, so that a closing tag without an opening one ends a block that began before the text;
    False: it does not, and such a closing tag is text."""

    open: str
    close: str
    prefilled: bool | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """`ended` says whether there was reasoning, and whether it came to its end."""

    answer: str
    reasoning: str = ""
    ended: Ending = "none"


KNOWN = (
    Tags("<think>", "</think>"),
    Tags("<thinking>", "</thinking>"),
    Tags("<thought>", "</thought>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("◁think▷", "◁/think▷"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<|begin_of_thought|>", "<|end_of_thought|>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<|channel>thought", "<channel|>"),
)
"""The tags of common model families."""

CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
"""gpt-oss writes `<|channel|>NAME<|message|>TEXT<|end|>`, and its answer in the channel `final`."""
_CHANNELS_BEGIN = re.compile(r"\s*(?:<\|start\|>)?(?:assistant)?<\|channel\|>")
_CHANNEL_ENDS = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
# The same text where a decoder left the special tokens out.
_BARE_ANALYSIS, _BARE_FINAL = re.compile(r"\s*(?:assistant)?analysis"), "assistantfinal"

_QUOTES = frozenset(["``", '""', "''", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "\u201e\u201c"])


def _any_of(texts: Iterable[str]) -> str:
    """A pattern. What is longer comes first, so that no tag is read as the beginning of another one."""
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))


_OPENS = {tags.open: tags for tags in KNOWN}
_TAGS = {**_OPENS, **{tags.close: tags for tags in KNOWN}}
_BEGINS = re.compile(rf"\s*(?:{_any_of(_OPENS)}|<\|start\|>assistant<\|channel\|>|<\|channel\|>)")
_KNOWN_TAG = re.compile(_any_of(_TAGS))


def begins_with_open_tag(text: str) -> bool:
    """Returns whether a text begins with the opening tag of a known family, or with a channel."""
    return _BEGINS.match(text) is not None


def begins_with_reasoning(text: str) -> bool:
    """Returns whether a text begins with reasoning of a known family. Where it holds no tag that costs one search."""
    if begins_with_open_tag(text):
        return True
    if "</think>" in text:  # opened by the chat template, if at all
        return split(text).ended != "none"
    return text.startswith("analysis") and _BARE_FINAL in text


def opened_in(prompt: str) -> str:
    """The tag of a known family in which a prompt ends: the chat template has opened the reasoning. "" without one."""
    end = prompt[-64:].rstrip()
    return next((tags.open for tags in KNOWN if end.endswith(tags.open)), "")


def split(text: str, tags: Tags | None = None) -> Split:
    """Splits a response. Without `tags` the family is the one whose tag comes first in the text."""
    if _CHANNELS_BEGIN.match(text):
        return _split_channels(text)
    if tags is None:
        if _BARE_FINAL in text and _BARE_ANALYSIS.match(text):
            reasoning, _, answer = text.rpartition(_BARE_FINAL)
            return Split(answer.strip(), reasoning, "finished")
        first = next((mark for mark in _KNOWN_TAG.finditer(text) if not _is_quoted(text, mark)), None)
        if first is None:
            return Split(text)
        tags = _TAGS[first[0]]
    return _split_tagged(text, tags)


def _split_tagged(text: str, tags: Tags) -> Split:
    marks = list(_marks(tags.open, tags.close).finditer(text))
    inside = tags.prefilled is True and not text.lstrip().startswith(tags.open)
    used = [mark for mark in marks if not _is_quoted(text, mark)]
    if inside or (used and used[0][0] == tags.open):
        if all(mark[0] == tags.open for mark in used):
            used = marks  # the block would have no end but the one between quotation marks
    elif not used:
        return Split(text)
    return _without_blocks(text, used, tags, depth=int(inside))


def _without_blocks(text: str, marks: list[re.Match[str]], tags: Tags, depth: int) -> Split:
    """Leaves out every block, with the blocks inside it. A closing tag that closes nothing ends what began before the
    text, so that all before it was reasoning."""
    kept: list[str] = []
    hidden: list[str] = []
    start, found = 0, bool(depth)
    for mark in marks:
        if mark[0] == tags.open:
            if not depth:
                kept.append(text[start : mark.start()])
                start = mark.end()
            depth, found = depth + 1, True
        elif depth:
            depth -= 1
            if not depth:
                hidden.append(text[start : mark.start()])
                start = mark.end()
        elif tags.prefilled is not False:
            hidden.append("".join([*kept, text[start : mark.start()]]))
            kept, start, found = [], mark.end(), True
    if not found:
        return Split(text)
    if depth and marks and marks[-1][0] != tags.open:
        # An opening tag was mentioned inside the block: the last closing tag ends it.
        hidden.append(text[start : marks[-1].start()])
        start, depth = marks[-1].end(), 0
    (hidden if depth else kept).append(text[start:])
    return Split("".join(kept).strip(), "\n".join(hidden), "unfinished" if depth else "finished")


def _split_channels(text: str) -> Split:
    """The answer is what stands in channel `final`; where none was begun, the reasoning has not ended."""
    final: list[str] = []
    others: list[str] = []
    for part in text.split(CHANNEL)[1:]:
        header, begun, body = part.partition(MESSAGE)
        end = _CHANNEL_ENDS.search(body)
        name = header.split(maxsplit=1)[:1]
        if begun:
            (final if name == ["final"] else others).append(body[: end.start()] if end else body)
    return Split("".join(final).strip(), "\n".join(others), "finished" if final else "unfinished")


@lru_cache(maxsize=64)
def _marks(open: str, close: str) -> re.Pattern[str]:
    return re.compile(_any_of((open, close)))


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
    return before + after in _QUOTES

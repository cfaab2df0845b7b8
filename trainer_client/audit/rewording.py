"""Rewords responses for the checks of an audit: the same words in another form.

Guarantees: a reworded response keeps every word of its text in order; what is added is listed here. Criteria that speak
of form, and criteria that ask for nothing, are told by words in English.
"""

import re

from trainer_client import wire

_FILLERS = (
    "I hope this helps.",
    "Please let me know if anything is unclear.",
    "I am happy to go over any of these points again.",
    "Thank you for your question.",
    "There is a lot that could be said about this.",
    "As always, it depends on the circumstances.",
    "Feel free to come back to this at any time.",
    "These are the thoughts that I wanted to share.",
)
"""Sentences that say nothing about any subject."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
_MARKS = re.compile(r"^[ \t]*(?:[-*+]|#{1,6}|\d+[.)])[ \t]+|\*\*|__", re.MULTILINE)
_OF_FORM = re.compile(
    r"\b(?:words?|sentences?|lines?|paragraphs?|characters?|letters?|bullets?|lists?|listed|headings?|headers?|markdown|"
    r"format\w*|bold|italics?|tables?|sections?|short\w*|long\w*|length|brief\w*|concise\w*|verbos\w*|wordy|begins?|starts?|"
    r"ends?|opens?|closes?|closing|first|last|upper-?case|lower-?case|capital\w*|punctuation|structur\w*|clear\w*|"
    r"organi[sz]ed|repeat\w*|repetit\w*|filler|thanks?|question|exactly|at least|at most|number of|offers?|invites?)\b",
    re.IGNORECASE,
)
_OF_ABSENCE = re.compile(
    r"\b(?:not|no|never|none|nothing|without|avoids?|avoiding|refrains?|omits?|free of|lacks?|fails?|empty|only)\b"
    r"|n't\b",
    re.IGNORECASE,
)


def padded(response: str) -> str:
    """The response with sentences behind it that say nothing, about as long as the response itself."""
    added, n = "", 0
    while len(added) < len(response) or not n:
        added += f" {_FILLERS[n % len(_FILLERS)]}"
        n += 1
    return f"{response.rstrip()}\n\n{added.strip()}"


def plain(response: str) -> str:
    """The response without the marks of markdown lists, headings and bold text."""
    return _MARKS.sub("", response)


def bulleted(response: str) -> str:
    """Each sentence of a plain response as a point of a list."""
    return "\n".join(f"- {sentence}" for sentence in _sentences(response))


def emphasised(response: str) -> str:
    """Each sentence of a plain response as a paragraph of markdown whose first words are bold."""
    return "\n\n".join(_bold_start(sentence) for sentence in _sentences(response))


def _bold_start(sentence: str) -> str:
    words = sentence.split(" ")
    return " ".join([f"**{' '.join(words[:3])}**", *words[3:]])


def _sentences(response: str) -> list[str]:
    return [one.strip() for one in _SENTENCE_END.split(response) if one.strip()]


def speaks_of_form(criterion: wire.Criterion) -> bool:
    """Whether other form or more words could rightly change the verdict."""
    return _OF_FORM.search(criterion.judged_text) is not None


def demands_something(criterion: wire.Criterion) -> bool:
    """Whether an answer without content must fail it: it is wanted, and does not say what is absent."""
    return criterion.worth > 0 and _OF_ABSENCE.search(criterion.judged_text) is None

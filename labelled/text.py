"""Holds small pure functions on texts that rules and edits share: sentences, words, insertions and removals."""

import re

_BREAK = re.compile(r"(?<=[.!?])\s+")
_END = re.compile(r"[.!?]+(?=[\s\")\]}]|$)")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def sentences(text: str) -> list[str]:
    """The text cut behind each full stop, exclamation mark and question mark that white space follows."""
    return [one for one in _BREAK.split(text.strip()) if one]


def count_sentences(text: str) -> int:
    """The number of ends of sentences, and one more for a text that goes on behind the last. "P.S." is no sentence."""
    text = text.replace("P.S.", "PS")
    tail = _END.split(text)[-1]
    return len(_END.findall(text)) + bool(_WORD.search(tail))


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def mentions(text: str, word: str) -> int:
    """How often the text has the word as a whole, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def first_place(text: str, word: str) -> int:
    """The place of the first mention, -1 where there is none."""
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
    return found.start() if found else -1


def without_word(text: str, *dropped: str) -> str:
    """The text without the sentences that mention one of the words."""
    return " ".join(one for one in sentences(text) if not any(mentions(one, word) for word in dropped))


def appended(text: str, sentence: str) -> str:
    return f"{text} {sentence}".strip()


def before_last_stop(text: str, inserted: str) -> str:
    """The text with something in front of its last full stop, or at its end."""
    at = text.rfind(".")
    return f"{text}{inserted}" if at < 0 else f"{text[:at]}{inserted}{text[at:]}"

"""Holds the edits that make a criterion true or false of a response: pure functions from text to text."""

import json
import re
from collections.abc import Callable
from typing import Any

from labelled import checks
from labelled import text as texts

FILLERS = (
    "This takes a little time.",
    "Many people find it easy.",
    "It is worth the effort.",
    "There is more than one way.",
    "Small steps are enough.",
    "Nobody is perfect at once.",
)
_LISTED = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")


def same(text: str, *option: Any) -> str:
    return text


def with_word(text: str, word: str) -> str:
    return text if checks.mentions(text, word) else texts.appended(text, f"Think of the {word} too.")


def longer(count: Callable[[str], int], text: str, number: int) -> str:
    for filler in FILLERS * 8:
        if count(text) >= number:
            break
        text = texts.appended(text, filler)
    return text


def first_sentences(text: str, number: int) -> str:
    return " ".join(texts.sentences(text)[: number - 1])


def bullets(text: str) -> str:
    return "\n".join(f"- {one}" for one in texts.sentences(text))


def no_bullets(text: str) -> str:
    return " ".join(re.sub(r"^\s*[-*•]\s+", "", line) for line in text.splitlines())


def bold(text: str) -> str:
    long = next((word for word in texts.words(text) if len(word) > 4), None)
    return f"**Note** {text}" if long is None else text.replace(long, f"**{long}**", 1)


def shout(text: str) -> str:
    at = text.rfind(".")
    return f"{text}!" if at < 0 else f"{text[:at]}!{text[at + 1 :]}"


def no_you(text: str) -> str:
    return re.sub(r"\byour\b", "the", re.sub(r"\byou\b", "one", text, flags=re.I), flags=re.I)


def ordered(text: str, one: str, other: str) -> str:
    return texts.appended(texts.without_word(text, one, other), f"First comes the {one} and then the {other}.")


def numbered(text: str) -> str:
    return "\n".join(f"{number}. {one}" for number, one in enumerate(texts.sentences(text), 1))


def as_json(text: str) -> str:
    return json.dumps({"answer": text}, ensure_ascii=False)


def no_numbers(text: str) -> str:
    return " ".join(re.sub(r"^\s*\d+[.)]\s+", "", line) for line in text.splitlines())


def few_words(text: str, number: int) -> str:
    kept: list[str] = []
    for one in texts.sentences(text):
        if len(texts.words(" ".join([*kept, one]))) > number:
            break
        kept.append(one)
    return " ".join(kept) or " ".join(text.split()[:number])


def paragraphs(text: str) -> str:
    parts = texts.sentences(text)
    return "\n\n".join(parts if len(parts) > 1 else [*parts, FILLERS[0]])


def in_language(text: str, name: str, translation: str) -> str:
    return translation


def say_often(text: str, word: str) -> str:
    while texts.mentions(text, word) < 3:
        text = texts.appended(text, f"The {word} matters.")
    return text


def appends(sentence: str) -> Callable[..., str]:
    return lambda text, *option: texts.appended(text, sentence.format(*option))


def prefixes(start: str) -> Callable[..., str]:
    """Puts something before the text, on a line of its own where the text is a list."""
    return lambda text, *option: f"{start.format(*option)}{chr(10) if _LISTED.match(text) else ''}{text}"


def replaces(pattern: str, by: str) -> Callable[..., str]:
    return lambda text, *option: re.sub(pattern, by, text)


def inserts(inserted: str) -> Callable[..., str]:
    return lambda text, *option: texts.before_last_stop(text, inserted)

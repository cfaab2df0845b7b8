"""Holds the pure functions that decide criteria, from a response and what stands in the criterion's places."""

import json
import re
from typing import Any

from labelled import text as texts

# Words that are frequent in one of the four languages and that the others do not have.
_SIGNS = {
    name: frozenset(signs.split())
    for name, signs in {
        "Spanish": "el los las del una y es hay que por para se con lo más muy día agua",
        "French": "le les du une et est il elle on faut pour avec ne pas dans qui aux sont bon",
        "German": "der das und ist man mit nicht muss für ein dann sie auf den von zu sich kann",
        "English": "the and of to is it in you that this for are your with can or",
    }.items()
}


def has(pattern: str, text: str, *option: Any) -> bool:
    return re.search(pattern, text) is not None


def mentions(text: str, word: str) -> bool:
    return texts.mentions(text, word) > 0


def begins(text: str, word: str) -> bool:
    return [one.lower() for one in texts.words(text)[:1]] == [word.lower()]


def capitals(text: str) -> bool:
    return text == text.upper() and text != text.lower()


def repeats(text: str, question: str) -> bool:
    return text.lower().startswith(question.lower())


def both(text: str, one: str, other: str) -> bool:
    return mentions(text, one) and mentions(text, other)


def either(text: str, one: str, other: str) -> bool:
    return mentions(text, one) or mentions(text, other)


def in_order(text: str, one: str, other: str) -> bool:
    first, second = texts.first_place(text, one), texts.first_place(text, other)
    return 0 <= first < second


def ends(text: str, phrase: str) -> bool:
    return text.rstrip(' .!?"}\n').lower().endswith(phrase.lower())


def lower(text: str) -> bool:
    return text == text.lower() and text != text.upper()


def quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def is_json(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and "answer" in found


def language(text: str) -> str | None:
    """The one of the four languages whose frequent words the text has at least three of, and more than of another."""
    found = [word.lower() for word in texts.words(text)]
    counts = sorted(((sum(word in signs for word in found), name) for name, signs in _SIGNS.items()), reverse=True)
    return counts[0][1] if counts[0][0] >= 3 and counts[0][0] > counts[1][0] else None


def often(text: str, word: str) -> bool:
    return texts.mentions(text, word) >= 3


def thanks(text: str) -> bool:
    return any(mentions(one, "thank") or mentions(one, "thanks") for one in texts.sentences(text)[:1])

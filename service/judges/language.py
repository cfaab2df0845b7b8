"""Tells in which language a text is written: by its script, and by common words of languages in Latin script. Pure.

Guarantees: a text that fits no language clearly has none, which fulfils no route.
"""

import re
from collections import Counter
from collections.abc import Mapping

_LOOKED_AT = 4_000
"""Characters at the beginning of a text. More would not make it clearer."""

_LEAST_WORDS = 2
"""So many common words a text has at least, and more of one language than of any other."""

_WORDS = {
    "en": "the of and to in is that for it with as was on are you this be have what how i my if should can has not",
    "de": "der die das und ist nicht ich ein eine mit für auf zu den von wie was wenn sich sie",
    "fr": "le la les des est et une un dans que qui pour pas je vous avec sur ce mon comment",
    "es": "el los las es y una un en que por para con no mi me del se como qué cómo",
    "it": "il lo gli è e una un di che per con non mi della sono nel come cosa ho questo",
    "pt": "o os as é e uma um de que para com não meu me do da em como eu você",
    "nl": "de het een en is niet ik van dat met voor op zijn wat hoe mijn er aan te bij",
}
_COMMON: Mapping[str, frozenset[str]] = {language: frozenset(words.split()) for language, words in _WORDS.items()}

_SCRIPTS: tuple[tuple[str, str], ...] = (  # the first one that holds most of the letters; kana and Hangul before Han
    ("ja", r"[\u3040-\u30ff]"),
    ("ko", r"[\uac00-\ud7af\u1100-\u11ff]"),
    ("zh", r"[\u4e00-\u9fff\u3400-\u4dbf]"),
    ("ru", r"[\u0400-\u04ff]"),
    ("el", r"[\u0370-\u03ff]"),
    ("he", r"[\u0590-\u05ff]"),
    ("ar", r"[\u0600-\u06ff]"),
    ("hi", r"[\u0900-\u097f]"),
    ("th", r"[\u0e00-\u0e7f]"),
)
LANGUAGES = (*_COMMON, *(language for language, _ in _SCRIPTS))
"""Scripts stand for the most common language that uses them."""

_JAPANESE_SHARE = 0.1
"""Japanese has Han characters beside its kana; Chinese has no kana."""


def language_of(text: str) -> str | None:
    """Two letters, as ISO 639-1; None where the text does not say."""
    text = text[:_LOOKED_AT].lower()
    letters = sum(map(str.isalpha, text))
    if not letters:
        return None
    counts = {language: len(re.findall(script, text)) for language, script in _SCRIPTS}
    if counts["ja"] and counts["ja"] + counts["zh"] > letters / 2 and counts["ja"] >= _JAPANESE_SHARE * counts["zh"]:
        return "ja"
    for language, count in counts.items():
        if count > letters / 2:
            return language
    return _latin(text)


def _latin(text: str) -> str | None:
    words = Counter(re.findall(r"[^\W\d_]+", text))
    scores = Counter({language: sum(words[word] for word in common) for language, common in _COMMON.items()})
    (best, most), (_, second) = scores.most_common(2)
    return best if most >= _LEAST_WORDS and most > second else None

"""Looks at the form in which a criterion is written: its title, the prefix of its category, its tags, stray characters.

Pure. `tidy_text` and `tidy_tags` give the form that is right, where it is mechanical.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from trainer_client import wire
from trainer_client.lint.codes import Entry, Findings, Found

TITLE_WORDS = (2, 4)
"""Rubrics as Rewards asks its generator for titles of 2 to 4 words."""
_MAX_TITLE_WORDS = 6
_MAX_PREFIX = 80
_LOOSE = re.compile(
    r"[*_\[(\"]*\s*(?P<word>[A-Za-z]{5,12})\s*[*_]*\s*(?P<noun>crit[a-z]{2,8})?\s*[*_\])\"]*\s*(?P<mark>[:\-\u2013\u2014]|\s)\s*[*_]*\s*",
    re.IGNORECASE,
)
_ODD = re.compile(r"[\u200b-\u200d\u2060\ufeff\u00ad]")
_BLANKS = re.compile(r"(?: |[\u00a0\u2000-\u200a\u202f\u205f\u3000\t])+")


def title_length(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        number = len(one.tags.get("title", "").split())
        if number > _MAX_TITLE_WORDS:
            why = f"its title has {number} words, which is a second criterion that no judge reads"
            remedy = f"name it in {TITLE_WORDS[0]} to {TITLE_WORDS[1]} words, and say the rest in the text"
            yield Found(one.place, "title_length", why, remedy)


def category_prefix(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        if proper_prefix(one.written) is not None:
            why = "the text begins with the name of a category that is misspelt or in another form"
            yield Found(one.place, "category_prefix", why, "write it as in `Essential Criteria: `")


def category_conflict(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        named = wire.Criterion(text=one.written, points=1).category
        if named is not None and one.category is not None and named != one.category:
            why = f"its text begins as {named} and its tag says {one.category}, which is what counts"
            yield Found(one.place, "category_conflict", why, "give it one category")


def untidy_text(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        if one.rule is None and tidy_text(one.written) != one.written:
            why = "it has blanks or characters that nobody sees, and texts that look equal differ by them"
            yield Found(one.place, "untidy_text", why, "take them out")


def tag_form(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        if tidy_tags(one.tags) != dict(one.tags):
            why = "a tag has blanks around its name or its value, or a category that is not one of the four words"
            yield Found(one.place, "tag_form", why, "write it as in `axis:accuracy` and `category:essential`")


def tidy_text(text: str) -> str:
    """The text without characters of no width, with one blank where there were several, and none at the ends. Lines
    that are indented keep their blanks but those at their ends."""
    lines = _ODD.sub("", text).strip().split("\n")
    return "\n".join((line if line[:1].isspace() else _BLANKS.sub(" ", line)).rstrip() for line in lines)


def tidy_tags(tags: Mapping[str, str]) -> dict[str, str]:
    tidy = {name.strip(): value.strip() for name, value in tags.items()}
    if len(tidy) < len(tags) or any(not name for name in tidy):
        return dict(tags)
    if "category" in tidy:
        near = get_close_matches(tidy["category"].lower(), wire.CATEGORIES, n=1, cutoff=0.8)
        tidy["category"] = near[0] if near else tidy["category"]
    return tidy


def proper_prefix(text: str) -> str | None:
    """The text with the prefix of its category as it should be; None where it is so, or where there is none."""
    plain = text.lstrip()
    found = _LOOSE.match(plain[:_MAX_PREFIX])
    if found is None:
        return None
    word = found["word"].lower()
    near = get_close_matches(word, wire.CATEGORIES, n=1, cutoff=0.8)
    if not near or word[0] != near[0][0] or (found["noun"] is None and not _stands_alone(plain, plain[: found.end()])):
        return None
    rest = plain[found.end() :]
    proper = f"{near[0].capitalize()} Criteria: {rest}"
    return proper if rest.strip() and proper != text else None


def _stands_alone(text: str, begins: str) -> bool:
    """A category's name alone is a prefix before a colon or a dash, or in marks ("Important: ", "[Essential] "), where
    a new sentence begins behind it: a sentence may begin with the word."""
    marked = re.search(r"[:\u2013\u2014]|\s-\s", begins) or re.match(r"^\s*(?:\[.*\]|\(.*\)|\*\*.*\*\*)", begins)
    return marked is not None and text[len(begins) : len(begins) + 1].isupper()

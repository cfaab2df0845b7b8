"""Looks at the words of criteria that a judge reads: several things at once, nothing in particular, nothing visible.

A criterion of several lines, such as HealthBench's instructions to graders in steps, is judged as a whole and is not
taken for several criteria or for a vague one. Pure.
"""

import re
from collections.abc import Iterator, Sequence

from trainer_client.lint import words
from trainer_client.lint.codes import Entry, Findings, Found
from trainer_client.lint.unobservable import is_unobservable

MAX_TEXT_CHARACTERS = 3_200
"""HealthBench's longest criterion has 3,185."""
_COPIED_WORDS = 15
_LONGEST_VAGUE, _LONGEST_GENERIC, _MOST_SPECIFIC = 14, 25, 2

_VERBS = (
    "acknowledges advises asks avoids calculates cautions cites clarifies compares concludes confirms defines "
    "derives describes discusses emphasizes encourages explains gives highlights identifies includes indicates "
    "informs instructs lists mentions names notes offers outlines presents provides recommends refers reassures "
    "requests shows specifies states suggests summarizes tells uses warns"
).replace(" ", "|")
_AND_VERB = re.compile(
    r"(?:\band|;|,\s+then)\s+(?:also\s+|then\s+|finally\s+|[a-z]+ly\s+)*(?!is\b|was\b|does\b)(?P<any>[a-z]+s)\s+"
    r"(?:the|an?|its|his|her|their|how|why|whether|what|no|any|all|two|three|four|\d+)\b"
)
"""Any verb with an object."""
_AND_ALSO = re.compile(
    rf"(?:\band|;)\s+(?:also\s+|then\s+|finally\s+|[a-z]+ly\s+)*(?:(?P<any>(?:does|do)\s+not)|{_VERBS})\b",
    re.IGNORECASE,
)
_ALSO = re.compile(
    r"[.;]\s+(?:it|(?:the\s+)?(?:response|answer|assistant|model))\s+(?:(?:must|should)\s+)?also\b"
    rf"|\bas\s+well\s+as\s+(?:{_VERBS})\b",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r"\b(?:who|which|that)\s+(?:[a-z]+ly\s+)?(?:also\s+)?[a-z]+s\b"
    r"|\b(?:how|if|when|where|whether)\s+(?:the|a|an)\s+\w+\s+\w+s\b",
    re.IGNORECASE,
)
"""A clause with a verb of its own: what follows `and` may belong to it."""
_CLAUSE = re.compile(r"^\W*\w+\s+(?:\w+\s+)?(?:that|how|whether|if|when|where)\b")
"""The beginning of what is said, as in `States that ...`."""
_FEWEST_BEFORE = 3
_STEP = re.compile(r"^\s*(?:step\s*\d|\d+[.)]|[-*•])", re.IGNORECASE | re.MULTILINE)


def wording(criteria: Sequence[Entry]) -> Findings:
    """Of what a judge will read alone: a rule does not look at the text."""
    for one in criteria:
        if one.rule is not None:
            continue
        yield from _of_text(one)
        if len(one.text) > MAX_TEXT_CHARACTERS:
            why = f"it is longer than {MAX_TEXT_CHARACTERS:,} characters, which a judge reads again for every response"
            yield Found(one.place, "too_long_text", why, "split it, or leave out the reasons")


def _of_text(one: Entry) -> Findings:
    if is_compound(one.text):
        yield Found(
            one.place,
            "compound",
            "it asks for several things, and a response that has half of them neither meets it nor fails it",
            "make them criteria of their own, with points each",
        )
    if is_unobservable(one.text):
        yield Found(
            one.place,
            "unobservable",
            "a judge cannot see this in the response alone",
            "state the fact, value or step that the response should contain",
        )
    elif is_generic(one.text):
        yield Found(
            one.place,
            "generic",
            "it could stand under any prompt, and judges differ on it more than on facts",
            "say what is clear, complete or kind in an answer to this prompt, or leave it out",
        )
    elif is_vague(one.text):
        yield Found(
            one.place,
            "vague",
            "what it asks for hangs on a word that means something else to every judge",
            "say what would be seen in the response, or give examples with `such as`",
        )


def is_compound(text: str) -> bool:
    if "\n" in text.strip() or _STEP.search(text):
        return False
    said = words.statement(text)
    if _ALSO.search(said):
        return True
    joined = [*_AND_ALSO.finditer(said), *_AND_VERB.finditer(said)]
    return any(_is_of_the_whole(said[: found.start()], found["any"]) for found in joined)


def _is_of_the_whole(before: str, of_any: str | None) -> bool:
    """Whether the verb behind these words belongs to the response, as the verb at the beginning does, and has an object
    of its own. After `States that ...` one that could be of anything is part of what is stated."""
    if len(words.of(before)) < _FEWEST_BEFORE or (of_any and _CLAUSE.search(before)):
        return False
    return not _RELATIVE.search(_CLAUSE.sub("", before))


def is_generic(text: str) -> bool:
    if "\n" in text.strip() or words.EXAMPLES.search(text) or re.search(r"['\u2018]", text.replace("'s", "")):
        return False
    said = words.of(text)
    return (
        len(said) <= _LONGEST_GENERIC
        and all(map(words.carries_nothing, said))
        and any(word in words.QUALITIES for word in said)
    )


def is_vague(text: str) -> bool:
    said = words.of(text)
    if len(said) > _LONGEST_VAGUE or "\n" in text.strip() or words.EXAMPLES.search(text):
        return False
    if said and said[-1] == "etc":
        return True
    if not any(word in words.VAGUE for word in said):
        return False
    specific = [
        word for word in said if not words.carries_nothing(word) and word not in words.VAGUE and not _is_verb(word)
    ]
    return len(specific) <= _MOST_SPECIFIC


def _is_verb(word: str) -> bool:
    return re.fullmatch(_VERBS, word) is not None


def copied_reference(criteria: Sequence[Entry], reference: str) -> Findings:
    runs = set(_runs(words.of(reference)))
    for one in criteria:
        if one.rule is None and not runs.isdisjoint(_runs(words.of(one.text))):
            why = (
                f"it repeats {_COPIED_WORDS} words or more of the reference, so it asks for wording and not for content"
            )
            yield Found(one.place, "copied_reference", why, "say the fact in as few words as it needs")


def _runs(said: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(said[n : n + _COPIED_WORDS]) for n in range(len(said) - _COPIED_WORDS + 1))

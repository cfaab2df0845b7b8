"""Turns the text of a criterion into its opposite, into other words for the same, or into nothing that can be judged.

Guarantees: the words are English, and a text whose beginning is not known is put whole into a sentence about it, which
is right for any text. The same text and random numbers give the same words.
"""

import re
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

PARAPHRASES = (
    "The response meets this requirement: {}",
    'This is true of the response: "{}"',
    "Check whether the following holds. {}",
)
NEGATION = 'This is not true of the response: "{}"'

VAGUE_VIRTUES = (
    "Handles the important aspects reasonably well.",
    "Is appropriate for the situation.",
    "Gives a suitable amount of information.",
    "Is helpful in a general sense.",
    "Shows good judgement where it matters.",
    "Covers the relevant points as needed.",
    "Strikes the right balance overall.",
    "Is of adequate quality.",
)
VAGUE_FAULTS = (
    "Could be better in some respects.",
    "Is not entirely adequate.",
    "Leaves something to be desired.",
    "Is somewhat off in places.",
    "Does not quite strike the right balance.",
    "Is less helpful than it might be.",
    "Has certain weaknesses.",
    "Goes too far or not far enough.",
)
"""Criteria that sound like criteria, and that two readers would decide differently."""

_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "address": "deal with",
        "advise": "counsel",
        "calculate": "compute",
        "clarify": "make clear",
        "contain": "include",
        "describe": "depict",
        "discuss": "talk about",
        "emphasize": "stress",
        "encourage": "urge",
        "explain": "make clear",
        "express": "convey",
        "give": "provide",
        "highlight": "underline",
        "identify": "point out",
        "include": "contain",
        "indicate": "signal",
        "list": "enumerate",
        "mention": "note",
        "note": "point out",
        "offer": "provide",
        "outline": "sketch",
        "present": "set out",
        "provide": "supply",
        "recognize": "acknowledge",
        "recommend": "suggest",
        "say": "state",
        "show": "display",
        "specify": "spell out",
        "state": "say",
        "suggest": "propose",
        "use": "employ",
        "warn": "caution",
    }
)
"""Verbs by others that can stand before the same words."""
_OTHERS = (
    "acknowledge adapt add advocate answer apply ask assume attempt attribute avoid begin blame call check cite claim "
    "compare conclude confirm confuse congratulate consider correct cover create define delay demonstrate deny derive "
    "diagnose differentiate direct discourage dismiss distinguish divide document elaborate end ensure enumerate "
    "evaluate exaggerate extrapolate fail focus follow frame generate go guide hedge ignore imply infer inform inquire "
    "insist instruct interpret justify keep lack limit link maintain make misrepresent misstate name need neglect omit "
    "organize orient overlook overstate place point prepare propose reaffirm reassure refer refuse reject relate "
    "remain remind repeat reply report request respect respond restate reveal rewrite rule seek share start stress "
    "structure summarize support take tell treat urge validate verify write"
)
VERBS = frozenset((*_SYNONYMS, *_OTHERS.split()))
"""The verbs, in their base form, with which a criterion may begin and be turned round."""

_SUBJECT = r"(?P<subject>(?:(?:The|This)\s+)?(?:[Rr]esponse|[Aa]nswer|[Aa]ssistant|[Mm]odel)\s+)?"
_HELPERS = "is|are|was|were|has|have|can|could|should|must|will|would|may|might"
_NEGATED_VERB = re.compile(
    _SUBJECT + r"(?P<does>[Dd]oes|[Dd]o|[Dd]id)(?:\s+not|n['\u2019]t)\s+(?P<rest>\S.*)", re.DOTALL
)
_HELPED = re.compile(_SUBJECT + rf"(?P<helper>(?i:{_HELPERS}))\s+(?P<no>not\s+)?(?P<rest>\S.*)", re.DOTALL)
_VERB = re.compile(_SUBJECT + r"(?P<adverb>[A-Za-z]+ly\s+)?(?P<verb>[A-Za-z]+s)\b(?P<rest>.*)", re.DOTALL)
_FAILING = re.compile(_SUBJECT + r"[Ff]ails\s+to\s+(?P<verb>[a-z]+)\b(?P<rest>.*)", re.DOTALL)
_SENTENCES = re.compile(r";|[.!?]\s+\S|\bnor\b", re.IGNORECASE)
_AND_VERB = re.compile(
    r"\b(?:and|or|but)\s+(?:also\s+|then\s+|[a-z]+ly\s+)?(?:(?P<does>does|do)\b|(?P<verb>[a-z]+s)\b)"
)


def negated(text: str) -> str:
    """A text that is true of exactly those responses of which this one is not."""
    plain = text.strip()
    if not _says_several(plain):
        for turned in (_without_not, _without_failing, _with_helper, _with_not):
            found = turned(plain)
            if found is not None:
                return found
    return NEGATION.format(plain)


def reworded(text: str, random: Random) -> str:
    """Other words for the same question: another verb or a subject where the beginning is known, else a sentence about
    the text."""
    plain = text.strip()
    found = _VERB.fullmatch(plain)
    verb = None if found is None else base_form(found["verb"].lower())
    choices = [words.format(plain) for words in PARAPHRASES]
    if found is not None and verb in VERBS:
        adverb = (found["adverb"] or "").lower()
        verbs = [one for one in (verb if not found["subject"] else None, _SYNONYMS.get(verb)) if one]
        choices = [f"The response {adverb}{third_person(one)}{found['rest']}" for one in verbs] or choices
    return random.choice(choices)


def _says_several(text: str) -> bool:
    """Of several statements a `not` at the beginning denies the first alone."""
    if _SENTENCES.search(text):
        return True
    return any(found["does"] or base_form(found["verb"]) for found in _AND_VERB.finditer(text))


def base_form(verb: str) -> str | None:
    """The verb that this third person is of: `mentions` is of `mention`. None for what is no verb known here."""
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    return next(
        (
            base
            for ending, instead in endings
            if verb.endswith(ending) and (base := verb.removesuffix(ending) + instead) in VERBS
        ),
        None,
    )


def third_person(words: str) -> str:
    """`mention` as `mentions`; of several words, the first."""
    verb, space, rest = words.partition(" ")
    if verb == "have":
        ended = "has"
    elif re.search(r"[^aeiou]y$", verb):
        ended = f"{verb[:-1]}ies"
    else:
        ended = f"{verb}es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else f"{verb}s"
    return f"{ended}{space}{rest}"


def _without_not(text: str) -> str | None:
    """ "Does not mention tea." is the opposite of "Mentions tea."."""
    found = _NEGATED_VERB.fullmatch(text)
    if found is None:
        return None
    first, space, rest = found["rest"].partition(" ")
    adverb = ""
    if first.endswith("ly") and first not in VERBS:
        adverb, (first, space, rest) = f"{first} ", rest.partition(" ")
    mark = re.search(r"\W*$", first)
    bare = first[: mark.start()] if mark else first
    if bare not in VERBS:
        return None
    ended = third_person(bare) if found["does"].lower() == "does" else bare
    return _joined(found["subject"], f"{adverb}{ended}{first[len(bare) :]}{space}{rest}")


def _without_failing(text: str) -> str | None:
    found = _FAILING.fullmatch(text)
    if found is None or found["verb"] not in VERBS:
        return None
    return _joined(found["subject"], f"{third_person(found['verb'])}{found['rest']}")


def _with_helper(text: str) -> str | None:
    found = _HELPED.fullmatch(text)
    if found is None:
        return None
    no = "" if found["no"] else "not "
    return _joined(found["subject"], f"{found['helper']} {no}{found['rest']}")


def _with_not(text: str) -> str | None:
    found = _VERB.fullmatch(text)
    verb = None if found is None else base_form(found["verb"].lower())
    if found is None or verb is None:
        return None
    return _joined(found["subject"], f"does not {(found['adverb'] or '').lower()}{verb}{found['rest']}")


def _joined(subject: str | None, rest: str) -> str:
    return f"{subject}{rest[0].lower()}{rest[1:]}" if subject else f"{rest[0].upper()}{rest[1:]}"

"""Reads rows of IFEval: `prompt`, `instruction_id_list` and `kwargs`, each instruction as a criterion with a rule.

A rule decides as IFEval's own check does (instruction_following_eval, 2311.07911), but for two kinds that also ask for
English and here for the case alone, and for `***bold italics***`, which count once. Five kinds need a tokeniser or a
language detector that no rule has: they are criteria without a rule, for a judge.

Guarantees: no instruction is left out. An instruction of an unknown kind, or without what its rule needs, is refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from trainer_client.data.formats.task import Format, Task, conversation, identity
from trainer_client.data.records import Raw, RowError, decoded, mapping, shown

Json = dict[str, Any]
_PARAGRAPH = r"\s*+(?!\*{3})\S(?:(?!\*{3}).)*+"
_ANSWER = r"(?!\*{6})\S(?:(?!\*{6}).)*?"
_BULLET = r"[^\S\n]*(?:\*[^*\n]|-)"
_NO_BULLETS = rf"(?:(?!{_BULLET})[^\n]*+\n)*+"
_EMPHASISED = r"[^\n*]*[^\s*][^\n*]*"


def read(row: Raw) -> Task:
    kinds = decoded(row["instruction_id_list"], "instruction_id_list")
    given = decoded(row.get("kwargs"), "kwargs")
    if not isinstance(kinds, list) or not isinstance(given, list) or len(kinds) != len(given):
        raise RowError("`instruction_id_list` and `kwargs` must be lists of one length")
    pairs = enumerate(zip(kinds, given, strict=True))
    criteria = [_criterion(str(kind), mapping(one), place) for place, (kind, one) in pairs]
    return Task(
        prompt=conversation(row["prompt"]),
        rubric=criteria,
        id=identity(row.get("key", row.get("id"))),
        used=("prompt", "instruction_id_list", "kwargs", "key", "id"),
    )


def _criterion(kind: str, given: Mapping[str, Any], place: int) -> Json:
    if kind not in KINDS:
        raise RowError(f"`instruction_id_list[{place}]` is {shown(kind)}, which is no instruction of IFEval")
    said = {name: value for name, value in given.items() if value is not None}
    text = f"Follows the instruction {kind}{f' with {json.dumps(said, ensure_ascii=False)}' if said else ''}."
    criterion: Json = {"text": text, "points": 1, "tags": {"instruction": kind}}
    rule = KINDS[kind]
    if rule is None:
        return criterion
    try:
        return {**criterion, "verifier": {"rule": "regex", "pattern": rule(said)}}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RowError(f"`kwargs[{place}]` does not have what {kind} needs ({error})") from None


def _counted(one: str, relation: Any, count: Any) -> str:
    """A pattern of at least so many of `one`, or of fewer. Each is the next one and no later one, so that a text with
    too few is not tried in every way."""
    several = rf"(?>.*?{one}){{{int(count)}}}"
    if relation == "at least":
        return rf"(?s)\A{several}"
    if relation == "less than":
        return rf"(?s)\A(?!{several})"
    raise ValueError(f"relation {relation!r}")


def _keywords(given: Mapping[str, Any]) -> str:
    return r"(?is)\A" + "".join(rf"(?=.*{re.escape(word)})" for word in given["keywords"])


def _frequency(given: Mapping[str, Any]) -> str:
    return "(?i)" + _counted(re.escape(given["keyword"].strip()), given["relation"], given["frequency"])


def _forbidden(given: Mapping[str, Any]) -> str:
    words = "|".join(map(re.escape, given["forbidden_words"]))
    return rf"(?is)\A(?!.*\b(?:{words})\b)"


def _letters(given: Mapping[str, Any]) -> str:
    return "(?i)" + _counted(re.escape(given["letter"].strip()), given["let_relation"], given["let_frequency"])


def _words(given: Mapping[str, Any]) -> str:
    """A word is taken whole, so that no pattern finds two in it."""
    return _counted(r"(?<!\w)\w++", given["relation"], given["num_words"])


def _paragraphs(given: Mapping[str, Any]) -> str:
    more = int(given["num_paragraphs"]) - 1
    return rf"(?s)\A(?:\s*+\*{{3}})?+{_PARAGRAPH}(?:\*{{3}}{_PARAGRAPH}){{{more}}}(?:\*{{3}}\s*+)?+\Z"


def _placeholders(given: Mapping[str, Any]) -> str:
    return _counted(r"\[[^\n]*?\]", "at least", given["num_placeholders"])


def _postscript(given: Mapping[str, Any]) -> str:
    marker = given["postscript_marker"].strip()
    known = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    return f"(?i){known.get(marker, re.escape(marker))}"


def _bullets(given: Mapping[str, Any]) -> str:
    own = rf"{_BULLET}[^\n]*+(?:\n|\Z)"
    count = int(given["num_bullets"])
    return rf"\A{_NO_BULLETS}(?:{own}{_NO_BULLETS}){{{count}}}(?!{_BULLET})[^\n]*+\Z"


def _highlights(given: Mapping[str, Any]) -> str:
    one = rf"(?:\*\*{_EMPHASISED}\*\*|\*{_EMPHASISED}\*)"
    return _counted(one, "at least", given["num_highlights"])


def _sections(given: Mapping[str, Any]) -> str:
    return _counted(rf"{re.escape(given['section_spliter'].strip())}\s?\d++", "at least", given["num_sections"])


def _repeated(given: Mapping[str, Any]) -> str:
    return rf"(?i)\A\s*{re.escape(given['prompt_to_repeat'].strip())}"


def _end(given: Mapping[str, Any]) -> str:
    return rf"(?i){re.escape(given['end_phrase'].strip())}\"*\s*\Z"


def _fixed(pattern: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda given: pattern


KINDS: Mapping[str, Callable[[Mapping[str, Any]], str] | None] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": None,
    "length_constraints:number_sentences": None,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": None,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _fixed(r"My answer is (?:yes|no|maybe)\."),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": None,
    "detectable_format:title": _fixed(r"<<[^\n]*[^\n<>\s][^\n]*>>"),
    "combination:two_responses": _fixed(
        rf"(?s)\A(?:\s*\*{{6}})?\s*(?P<one>{_ANSWER})\s*\*{{6}}\s*(?!(?P=one)\s*(?:\*{{6}}\s*)?\Z)"
        rf"{_ANSWER}(?:\*{{6}}\s*)?\Z"
    ),
    "combination:repeat_prompt": _repeated,
    "startend:end_checker": _end,
    "startend:quotation": _fixed(r"(?s)\A\s*\".*\"\s*\Z"),
    "change_case:capital_word_frequency": None,
    "change_case:english_capital": _fixed(r"(?s)\A(?=.*\p{Lu})\P{Ll}*\Z"),
    "change_case:english_lowercase": _fixed(r"(?s)\A(?=.*\p{Ll})\P{Lu}*\Z"),
    "punctuation:no_comma": _fixed(r"\A[^,]*\Z"),
}

FORMAT = Format("IFEval", ("prompt", "instruction_id_list"), read, {"rubric": "instruction_id_list"})

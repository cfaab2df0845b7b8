"""IFEval's instructions as rules, on answers whose truth a reader sees, and their counts against plain counting."""

import json
import re
from random import Random
from time import perf_counter
from typing import Any

import pytest
import regex

from trainer_client import wire
from trainer_client.data.formats import ifeval
from trainer_client.data.reader import LENIENT, for_training, to_score
from trainer_client.data.records import RowError

Json = dict[str, Any]


def row(kind: str, **given: Any) -> Json:
    every = {"num_words": None, "relation": None}  # as the published set has them: all names, most of them null
    return {"key": 1000, "prompt": "Do it.", "instruction_id_list": [kind], "kwargs": [{**every, **given}]}


def verifier(kind: str, **given: Any) -> wire.Regex:
    rubric = for_training(row(kind, **given), LENIENT).item.rubric
    assert rubric is not None and isinstance(rubric.criteria[0].verifier, wire.Regex)
    return rubric.criteria[0].verifier


def follows(answer: str, kind: str, **given: Any) -> bool:
    return regex.search(verifier(kind, **given).pattern, answer, timeout=1) is not None


# The kind, what it is given, answers that follow it, and answers that do not.
SEEN: list[tuple[str, Json, list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["red", "blue sky"]}, ["Blue sky,\nRed sun"], ["red", "blue", ""]),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "at least"}, ["Go, gone"], ["go", ""]),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "less than"}, ["go", ""], ["go\nGO", "gogo"]),
    ("keywords:forbidden_words", {"forbidden_words": ["no", "not"]}, ["nothing"], ["a\nNo b", "not"]),
    (
        "keywords:letter_frequency",
        {"letter": "q", "let_frequency": 2, "let_relation": "at least"},
        ["Qq", "q\nq"],
        ["q", ""],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, ["a b-c", "a\nb c d"], ["ab cd"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["ab cd", ""], ["a b-c"]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["one\n***\ntwo", "***\none *** two\n***\n", "a***b"],
        ["one", "one\n***\n\n***\ntwo", "one\n\ntwo", "***", "a***b***c"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[][]"], ["[a\n] [b]", "[a]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["x\np. s. y"], ["PS y", "p.p.s"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["x P.P.S y"], ["P.S. y"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "Intro\n - a\n\n* b\nend", "- a\n- b\n"],
        ["* a", "* a\n* b\n- c", "** a\n** b", "a * b\nc - d"],
    ),
    ("detectable_format:constrained_response", {}, ["So: My answer is no."], ["My answer is no", "no"]),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and **b c**", "*a*\n*b*"],
        ["*a*", "* a\n* b", "** **  * *"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\nx SECTION2"],
        ["Section 1 Section 2", "SECTION 12"],
    ),
    ("detectable_format:title", {}, ["<<A poem>>\nx"], ["<< >>", "<<a\nb>>", "<a>"]),
    (
        "combination:two_responses",
        {},
        ["one\n******\ntwo", "******\none******two\n******", "one ****** one more"],
        ["one", "one******one", "one\n******\none\n******", "a******b******c", "******", "a******"],
    ),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say (it)?"}, [" say (it)? So."], ["So. Say (it)?"]),
    ("startend:end_checker", {"end_phrase": "Any more?"}, ['x any more?"\n', "Any more?"], ["Any more? x"]),
    ("startend:quotation", {}, ['"x"', ' "a\nb" ', '""'], ['"', '"x" y', "x"]),
    ("change_case:english_capital", {}, ["ALL 2!"], ["ALl", "2!"]),
    ("change_case:english_lowercase", {}, ["all 2!"], ["All", "2!"]),
    ("punctuation:no_comma", {}, ["a\nb", ""], ["a,\nb"]),
]


@pytest.mark.parametrize(("kind", "given", "right", "wrong"), SEEN, ids=[f"{one[0]} {one[1]}" for one in SEEN])
def test_a_rule_follows_its_instruction(kind: str, given: Json, right: list[str], wrong: list[str]) -> None:
    assert [answer for answer in right if not follows(answer, kind, **given)] == []
    assert [answer for answer in wrong if follows(answer, kind, **given)] == []


def test_counts_are_those_of_plain_counting() -> None:
    random, tried, wrong = Random(8), 0, []
    pieces = ["a", "go", "[x]", "[", "]", " ", "\n", "-", "*", "* b\n", "\n- c", "é", "_", "Section 1"]
    for _ in range(300):
        answer = "".join(random.choices(pieces, k=random.randint(0, 14)))
        number, relation = random.randint(1, 4), random.choice(("at least", "less than"))
        counts: list[tuple[int, str, Json]] = [
            (len(re.findall("go", answer, re.I)), "keywords:frequency", {"keyword": "go", "frequency": number}),
            (len(re.findall(r"\w+", answer)), "length_constraints:number_words", {"num_words": number}),
            (answer.lower().count("o"), "keywords:letter_frequency", {"letter": "O", "let_frequency": number}),
        ]
        for count, kind, given in counts:
            name = "let_relation" if "letter" in given else "relation"
            tried += 1
            truth = count >= number if relation == "at least" else count < number
            if follows(answer, kind, **given, **{name: relation}) != truth:
                wrong.append((kind, relation, number, answer))
        bullets = sum(
            line.strip().startswith("-") or re.match(r"\s*\*[^*]", line) is not None for line in answer.split("\n")
        )
        tried += 2
        if follows(answer, "detectable_format:number_bullet_lists", num_bullets=number) != (bullets == number):
            wrong.append(("bullets", "", number, answer))
        holders = len(re.findall(r"\[.*?\]", answer))
        if follows(answer, "detectable_content:number_placeholders", num_placeholders=number) != (holders >= number):
            wrong.append(("placeholders", "", number, answer))
    assert (tried, wrong) == (1500, [])


def test_a_long_answer_with_too_few_is_decided_soon() -> None:
    """Without care a pattern of "at least 400 words" tries every choice of 399 of them."""
    long, started = "word, [x *y* Section 1\n- z ] " * 3000, perf_counter()
    assert not follows(long, "length_constraints:number_words", num_words=30_000, relation="at least")
    assert not follows(long, "keywords:frequency", keyword="word", frequency=3001, relation="at least")
    assert not follows(long, "detectable_format:number_bullet_lists", num_bullets=5)
    assert not follows(long, "detectable_format:number_highlighted_sections", num_highlights=3001)
    assert not follows(long, "length_constraints:number_paragraphs", num_paragraphs=2)
    assert not follows(long, "combination:two_responses")
    assert perf_counter() - started < 60


def test_kinds_without_a_rule_are_criteria_for_a_judge() -> None:
    kinds = ["language:response_language", "punctuation:no_comma"]
    one = {**row(kinds[0]), "instruction_id_list": kinds, "kwargs": json.dumps([{"language": "de"}, {}])}
    read = to_score({**one, "response": "x"}, LENIENT).item
    assert read.id == "1000" and read.rubric is not None
    first, second = read.rubric.criteria
    assert (first.verifier, first.tags) == (None, {"instruction": kinds[0]})
    assert first.text == 'Follows the instruction language:response_language with {"language": "de"}.'
    assert second.verifier is not None and set(ifeval.KINDS) >= set(kinds) and len(ifeval.KINDS) == 25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instruction_id_list": ["keywords:existance"]}, "no instruction of IFEval"),
        ({"kwargs": []}, "lists of one length"),
        ({"kwargs": [{"keyword": "go", "frequency": 2}]}, "does not have what keywords:frequency needs ('relation')"),
    ],
)
def test_a_row_that_is_none_of_ifevals_is_refused(change: Json, said: str) -> None:
    with pytest.raises(RowError, match=re.escape(said)):
        for_training({**row("keywords:frequency"), **change}, LENIENT)

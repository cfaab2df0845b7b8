"""Makes prompts with instructions that the service's rules decide, for `rubricd evaluate rules`.

Each row asks a question of the labelled set and gives one to three instructions, each of another kind and for another
part of the answer, so that all of them can be followed at once.

Guarantees: the same topics give the same rows. What a verifier decides is what the labelled set's own rule of that name
decides, on every response of the set.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from labelled.topics import TOPICS, Topic

Json = dict[str, Any]
_MOST = 3


@dataclass(frozen=True, slots=True)
class Instruction:
    """`says` is what the prompt asks, `text` the criterion, `verifier` the rule that decides it. `place` is the part of
    the answer that it is about: two of one place are not given together, and one about the whole answer alone."""

    kind: str
    place: str
    says: str
    text: str
    verifier: Json


WHOLE = "whole"


def _found(pattern: str) -> Json:
    return {"rule": "regex", "pattern": pattern}


def instructions(word: str, number: int) -> Sequence[Instruction]:
    """One of each kind. `word` is to be used, or not; `number` is the words of a short answer."""
    spelled = re.escape(word)
    return (
        Instruction("word", "word", f'Use the word "{word}".', f'Mentions the word "{word}".',
                    _found(rf"(?i)(?<!\w){spelled}(?!\w)")),
        Instruction("no word", "word", f'Do not use the word "{word}".', f'Does not mention the word "{word}".',
                    _found(rf"(?is)\A(?!.*(?<!\w){spelled}(?!\w))")),
        Instruction("first word", "start", 'Begin with the word "Honestly".', 'Begins with the word "Honestly".',
                    _found(r"(?i)\A[\W_]*Honestly(?!\w)")),
        Instruction("heading", "start", 'Begin with a heading that is marked with "#".',
                    'Begins with a heading that is marked with "#".', _found(r"\A# ")),
        Instruction("bullet points", "form", "Use bullet points.", "Has bullet points.", _found(r"(?m)^\s*[-*•] ")),
        Instruction("numbered steps", "form", 'Give numbered steps, the first of which begins with "1.".',
                    'Has numbered steps, the first of which begins with "1.".', _found(r"(?m)^\s*1[.)] ")),
        Instruction("paragraphs", "form", "Write two paragraphs or more, with an empty line between them.",
                    "Has two or more paragraphs with an empty line between them.", _found(r"\S\s*\n\s*\n\s*\S")),
        Instruction("no comma", "marks", "Use no comma.", "Is written without any comma.", _found(r"\A[^,]*\Z")),
        Instruction("exclamation mark", "marks", "Use an exclamation mark.", "Contains an exclamation mark.",
                    {"rule": "contains", "text": "!"}),
        Instruction("parentheses", "marks", "Put a remark in parentheses.", "Has a remark in parentheses.",
                    _found(r"\([^()]+\)")),
        Instruction("placeholder", "marks", "Use a placeholder in square brackets, such as [name].",
                    "Contains a placeholder in square brackets, such as [name].", _found(r"\[[^\[\]]+\]")),
        Instruction("bold", "marks", "Mark a word as bold with two asterisks on each side.",
                    "Marks a word as bold with two asterisks on each side.", _found(r"\*\*[^*]+\*\*")),
        Instruction("few words", "length", f"Use at most {number} words.", f"Has at most {number} words.",
                    {"rule": "length", "max": number}),
        Instruction("many words", "length", f"Use at least {number} words.", f"Has at least {number} words.",
                    {"rule": "length", "min": number}),
        Instruction("capitals", "case", "Write in capital letters throughout.",
                    "Is written in capital letters throughout.", _found(r"(?s)\A(?=.*\p{Lu})\P{Ll}*\Z")),
        Instruction("small letters", "case", "Use no capital letters.", "Has no capital letters.",
                    _found(r"(?s)\A(?=.*\p{Ll})\P{Lu}*\Z")),
        Instruction("last words", "end", 'End with the words "Good luck".', 'Ends with the words "Good luck".',
                    _found(r"(?i)Good luck[ .!?\"}\n]*\Z")),
        Instruction("postscript", "end", 'Add a postscript that begins with "P.S.".',
                    'Has a postscript that begins with "P.S.".', _found(r"(?i)p\.s\.")),
        Instruction("digits", "numbers", "Give a number in digits.", "Contains a number in digits.", _found(r"\d")),
        Instruction("quotation marks", WHOLE, "Put the whole answer in double quotation marks.",
                    "Stands as a whole in double quotation marks.", _found(r"(?s)\A\".*\"\Z")),
        Instruction("JSON", WHOLE, 'Answer with a JSON object that has the key "answer", and nothing else.',
                    'Is a JSON object with the key "answer".',
                    {"rule": "json_schema", "schema": {"type": "object", "required": ["answer"]}}),
    )  # fmt: skip


def rows() -> Iterator[Json]:
    """A row for each question of each topic."""
    for topic in TOPICS:
        for question in topic.questions:
            yield _row(topic, question)


def _row(topic: Topic, question: str) -> Json:
    draw = Random(f"instructions/{question}")
    offered = list(instructions(draw.choice(topic.words), draw.choice((20, 40, 60))))
    draw.shuffle(offered)
    chosen: list[Instruction] = []
    most = draw.randint(1, _MOST)
    for one in offered:
        taken = {other.place for other in chosen}
        if len(chosen) < most and one.place not in taken and not (chosen and WHOLE in {one.place, *taken}):
            chosen.append(one)
    rubric = [
        {"text": one.text, "points": 1, "tags": {"instruction": one.kind}, "verifier": one.verifier} for one in chosen
    ]
    return {"id": question, "prompt": f"{question} {' '.join(one.says for one in chosen)}", "rubric": rubric}

"""Asks questions of multiple choice as GPQA has them: options in a seeded order, and the letter read from the answer.

The order of a question's options depends on its id and the seed alone. A letter is read where the answer boxes one, or
the text of an option; else where a phrase states it (`Answer: B`); else where the last line is it.

Guarantees: an answer from which no option can be read is wrong, and is counted as such. An answer that states several
options states none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from trainer_client.data.files import sources
from trainer_client.errors import DataError

LETTERS = "ABCDEFGHIJ"
How = Literal["boxed", "stated", "judge", "none"]
"""How an answer's option was found: in a box, by its words, by a judge, or not at all."""

_QUESTION, _CORRECT, _WRONG = "Question", "Correct Answer", "Incorrect Answer"
_IDS = ("Record ID", "id", "Id", "ID")
_GROUPS = ("Subdomain", "High-level domain", "subject", "category")
_ASKED = """{question}

{options}

Think about it first. Then give the letter of the right option, alone, in \\boxed{{}}, as the last thing you write."""
_BOX = re.compile(r"\\boxed\s*\{")
_LETTER_ALONE = re.compile(r"^(?:\\(?:text|textbf|mathrm|mathbf)\s*\{)?[\s*(\[$]*([A-Za-z])[\s*)\].:$}]*(?:$|[).:]\s)")
# "A" and "I" are words too: they are letters where the statement ends behind them, or goes on with a reason.
_STATED = re.compile(
    r"(?i:\banswer\b)(?:\s+(?i:option|choice|letter))?[\"'*_`]*\s*(?:(?i:is|would\ be|should\ be)\b|[:=])"
    r"[\s*_`\"'(\[$]*(?:(?i:the\s+)?(?i:option|choice|letter)\b[\s*_`\"'(\[$:]*)?"
    r"([A-J])(?![A-Za-z0-9'])(?:(?<![AI])|(?!\s+[a-z])|(?=\s+(?:because|since|as|for|which|is|and|or)\b))"
)
_ANOTHER = re.compile(r"[\s*_`\"')\].,}$]*(?:/|&|,|(?i:or|and)\b)[\s*_`\"'(\[$]*[A-J](?![A-Za-z0-9'])")
_LONE = re.compile(r"^[\s*_`\"'(\[$>#-]*([A-Za-z])[\s*_`\"')\]$.:,;!]*$")


@dataclass(frozen=True, slots=True)
class Question:
    """`options` begin with the right one, as the file has them. `group` is its subject, empty where there is none."""

    id: str
    text: str
    options: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """A question as one seed asks it: its options in their order, and the letter of the right one."""

    prompt: str
    options: tuple[str, ...]
    right: str


@dataclass(frozen=True, slots=True)
class Chosen:
    letter: str | None
    how: How


def read_questions(path: Path) -> list[Question]:
    """The questions of a file of rows with GPQA's columns. Raises DataError."""
    found: list[Question] = []
    for place, row in sources.rows([path]):
        if not isinstance(row, dict):
            raise DataError(f"{place}: not an object with GPQA's columns")
        wrong = [str(row[name]) for name in row if name.startswith(_WRONG) and row[name] not in (None, "")]
        missing = [name for name in (_QUESTION, _CORRECT) if row.get(name) in (None, "")]
        if missing or not wrong:
            raise DataError(
                f"{place}: no `{missing[0] if missing else f'{_WRONG} 1'}`; a question has the columns `{_QUESTION}`, "
                f"`{_CORRECT}` and `{_WRONG} 1`, `{_WRONG} 2`, …"
            )
        options = (str(row[_CORRECT]).strip(), *(one.strip() for one in wrong))
        if len(set(options)) < len(options) or len(options) > len(LETTERS):
            raise DataError(f"{place}: its options must be at most {len(LETTERS)} different texts")
        id = next((str(row[name]) for name in _IDS if row.get(name) not in (None, "")), str(len(found)))
        group = next((str(row[name]) for name in _GROUPS if row.get(name)), "")
        found.append(Question(id, str(row[_QUESTION]).strip(), options, group))
    if not found:
        raise DataError(f"{path}: holds no question")
    if len({one.id for one in found}) < len(found):
        raise DataError(f"{path}: two questions have one id; give each its own, or none: then its number is its id")
    return found


def put(question: Question, seed: int) -> Put:
    """The question with its options in the order of the seed."""
    order = Random(f"{seed}/{question.id}").sample(range(len(question.options)), len(question.options))
    options = tuple(question.options[place] for place in order)
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return Put(_ASKED.format(question=question.text, options=listed), options, LETTERS[order.index(0)])


def chosen(answer: str, options: Sequence[str]) -> Chosen:
    """The option that an answer chooses."""
    boxes = list(_boxes(answer))
    if boxes:
        letter = _in_box(boxes[-1], options)
        if letter is not None:
            return Chosen(letter, "boxed")
    known = LETTERS[: len(options)]
    stated = [found for found in _STATED.finditer(answer) if found[1] in known]
    if stated:
        several = _ANOTHER.match(answer, stated[-1].end(1))
        return Chosen(None, "none") if several else Chosen(stated[-1][1], "stated")
    lines = [line for line in answer.splitlines() if line.strip()]
    lone = _LONE.match(lines[-1]) if lines else None
    if lone is not None and lone[1].upper() in known:
        return Chosen(lone[1].upper(), "stated")
    named = [letter for letter, option in zip(LETTERS, options, strict=False) if lines and option in lines[-1]]
    return Chosen(named[0], "stated") if len(named) == 1 else Chosen(None, "none")


def _boxes(answer: str) -> Iterator[str]:
    """What stands in each `\\boxed{}` that is closed."""
    for found in _BOX.finditer(answer):
        depth = 1
        for place in range(found.end(), len(answer)):
            depth += {"{": 1, "}": -1}.get(answer[place], 0)
            if depth == 0:
                yield answer[found.end() : place].strip()
                break


def _in_box(text: str, options: Sequence[str]) -> str | None:
    named = [letter for letter, option in zip(LETTERS, options, strict=False) if _plain(option) == _plain(text)]
    if len(named) == 1:
        return named[0]
    found = _LETTER_ALONE.match(text)
    return found[1].upper() if found is not None and found[1].upper() in LETTERS[: len(options)] else None


def _plain(text: str) -> str:
    return re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r"\1", text).strip(" $.").casefold()

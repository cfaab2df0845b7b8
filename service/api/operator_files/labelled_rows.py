"""Reads labelled rows, one JSON object a line: an item of the contract, and which of its criteria are met.

    {"item": {"prompt": ..., "response": ..., "rubric": [{"id": "a", "text": ..., "points": 1}]}, "met": {"a": true}}

Guarantees: no row is skipped. The first one that cannot be read is named with its line, its field and what to write. A
criterion that is labelled null, or on which annotators tie, asks nothing; neither does one that a rule decides.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.api import problems, translate
from service.api.operator_files.reading import read_named
from service.errors import ConfigurationError
from service.rubrics.rubric import Candidate
from service.scoring.exam.questions import Exam, Question
from trainer_client import wire

EXAM_FILE = Path(__file__).parents[2] / "scoring" / "exam" / "questions.jsonl"
_MOST_BYTES = 64 * 1024 * 1024
MOST_QUESTIONS = 2_000
"""A file of canaries has at most so many labels: all of them are judged again and again."""


class _WrongRow(ValueError):
    """A row cannot be read; the message says what to write."""


def built_in_exam() -> Exam:
    return Exam(read_labelled_rows(EXAM_FILE, "exam"))


def read_labelled_rows(file: Path, setting: str) -> tuple[Question, ...]:
    """The questions in a file that a setting names. Raises ConfigurationError."""
    lines = read_named(setting, file, _MOST_BYTES).splitlines()
    found: list[Question] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.extend(_questions(wire.read_json(line)))
        except (wire.JsonFault, _WrongRow) as error:
            raise ConfigurationError(f"`{setting}`, line {number} of {file}: {error}") from None
        if len(found) > MOST_QUESTIONS:
            raise ConfigurationError(f"`{setting}`: {file} has more than {MOST_QUESTIONS} labels; take a part of them")
    if not found:
        raise ConfigurationError(f"`{setting}`: {file} has no label; write true or false in `met`")
    return tuple(found)


def _questions(row: Any) -> Iterator[Question]:
    if not isinstance(row, dict) or set(row) != {"item", "met"}:
        raise _WrongRow('each line is an object {"item": ..., "met": {criterion id: true or false}}')
    candidates = _candidates(row["item"])
    labels = row["met"] if isinstance(row["met"], list) else [row["met"]]
    if len(labels) != len(candidates):
        raise _WrongRow(f"`met` has labels for {len(labels)} responses, and there are {len(candidates)}")
    for candidate, met in zip(candidates, labels, strict=True):
        by_id = {criterion.id: criterion for criterion in candidate.criteria}
        if not isinstance(met, dict) or not set(met) <= set(by_id):
            raise _WrongRow("`met` is an object whose keys are ids of criteria")
        for id, word in met.items():
            label = _label(word)
            if label is not None and by_id[id].rule is None:
                yield Question(candidate, by_id[id], label)


def _candidates(item: Any) -> list[Candidate]:
    try:
        request = wire.ScoreRequest.model_validate({"items": [item]})
    except ValidationError as error:
        refused = problems.invalid(error)
        places = [".".join(map(str, ("item", *loc[2:]))) + f": {message}" for loc, message in refused.errors]
        raise _WrongRow("; ".join(places[:3]) or str(refused)) from None
    return translate.candidates(request)


def _label(word: Any) -> bool | None:
    """Annotators' words are a list, or an object by their names; the label is what more of them say than not."""
    words = list(word.values()) if isinstance(word, Mapping) else word if isinstance(word, list) else [word]
    if not all(one is None or isinstance(one, bool) for one in words):
        raise _WrongRow("a label in `met` is true, false or null, or a list or an object of them by annotator")
    spoken = [one for one in words if one is not None]
    balance = 2 * sum(spoken) - len(spoken)
    return None if balance == 0 else balance > 0

"""Finds the two answers of a row that says which one is preferred: TRL's columns, OpenRubrics', or a winner's letter.

Guarantees: which answer is preferred is read from the row, and never guessed from an order.
"""

from typing import Any

from trainer_client import wire
from trainer_client.data.formats.task import conversation
from trainer_client.data.records import Raw, RowError, decoded_if_json, shown

PAIRS = (("chosen", "rejected"), ("preferred", "rejected"), ("response_a", "response_b"))
_WINNERS = {"a": 0, "response_a": 0, "model_a": 0, "b": 1, "response_b": 1, "model_b": 1}


def holds_pair(row: Raw) -> bool:
    """Returns whether the row has two answers of which one is to be preferred."""
    return any(all(row.get(name) is not None for name in names) for names in PAIRS)


def pair_of(row: Raw, *, may_be_empty: bool = True) -> tuple[str, str]:
    """The preferred answer and the other one. Raises RowError."""
    for names in PAIRS:
        if any(row.get(name) is None for name in names):
            continue
        answers = _answer(row, names[0], may_be_empty), _answer(row, names[1], may_be_empty)
        if names[0] != "response_a":
            return answers
        winner = row.get("winner")
        place = _WINNERS.get(winner.casefold()) if isinstance(winner, str) else None
        if place is None:
            raise RowError(f"`winner` is {shown(winner)}; write A or B, or name the answers `chosen` and `rejected`")
        return answers if place == 0 else (answers[1], answers[0])
    raise RowError("no pair of answers; write `chosen` and `rejected`, or `response_a`, `response_b` and `winner`")


def prompt_of_pair(row: Raw) -> Any:
    """The turns that both answers begin with, where they are whole conversations; None where they are not."""
    for names in PAIRS:
        turns = [conversation(row.get(name)) for name in names]
        if all(isinstance(one, list) and len(one) > 1 for one in turns):
            if turns[0][:-1] != turns[1][:-1]:
                raise RowError(f"`{names[0]}` and `{names[1]}` begin with different conversations")
            return turns[0][:-1]
    return None


def _answer(row: Raw, column: str, may_be_empty: bool) -> str:
    """The text of an answer; of turns the last one's."""
    value = decoded_if_json(row[column])
    if isinstance(value, list) and value and isinstance(value[-1], dict) and value[-1].get("role") == "assistant":
        value = value[-1].get("content")
    if not isinstance(value, str) or not (may_be_empty or wire.says_something(value)):
        raise RowError(f"`{column}` is {shown(value)}; write a text, or turns that end with the assistant's")
    return value

"""Marks in texts, and the verdict that follows from them: a judge and an oracle that share no other code agree by it.

Guarantees: a mark is plain text that no template has; another mark in any place is another verdict.
"""

import hashlib
import re
from dataclasses import dataclass

_MARK = re.compile(r"\[([pfrc])(\d+)\]")


@dataclass(frozen=True, slots=True)
class Marks:
    """The numbers of prompt, reference, response and criterion; None where there is no such text."""

    prompt: int | None = None
    reference: int | None = None
    response: int | None = None
    criterion: int | None = None


def mark(kind: str, number: int) -> str:
    """`kind` is p, f, r or c: prompt, reference, response, criterion."""
    return f"[{kind}{number}]"


def read(text: str) -> Marks | None:
    """The marks of a judge's prompt, or None where a kind is there twice."""
    found = _MARK.findall(text)
    numbers = {kind: int(number) for kind, number in found}
    if len(numbers) < len(found):
        return None
    return Marks(numbers.get("p"), numbers.get("f"), numbers.get("r"), numbers.get("c"))


def p_met(marks: Marks) -> float:
    """One of 0.0005, 0.0015, …, 0.9995: never a threshold of two digits."""
    text = f"{marks.prompt} {marks.reference} {marks.response} {marks.criterion}"
    return (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 1000 + 0.5) / 1000

"""Draws what a judge is made of as a Mermaid flowchart. Pure."""

from collections.abc import Iterator
from itertools import count

from service.modes.fingerprint import JudgeIdentity


def flowchart(judge: JudgeIdentity) -> str:
    """A composition points at its members. Names are in quotes, as Mermaid wants them."""
    return "\n".join(["flowchart TD", *(f"  {line}" for line in _lines(judge, 0, count(1)))])


def _lines(judge: JudgeIdentity, number: int, numbers: Iterator[int]) -> Iterator[str]:
    facts = judge.identity.facts
    rule = [f"{name} {value}" for name, value in facts.items() if name not in ("kind", "members")]
    about = judge.identity.model if not judge.members else "<br>".join([judge.identity.engine, *rule])
    yield f'j{number}["{_text(judge.name or judge.identity.model)}<br>{_text(about)}<br>{judge.fingerprint}"]'
    for member in judge.members:
        n = next(numbers)
        yield from _lines(member, n, numbers)
        yield f"j{number} --> j{n}"


def _text(text: str) -> str:
    return text.replace('"', "#quot;")

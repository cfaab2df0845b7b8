"""Draws what a judge is made of as a Mermaid flowchart. Pure.

Guarantees: a name, a model or a rule is a text in its box, whatever is in it: it adds no line, no box and no markup.
"""

import re
from collections.abc import Iterator
from itertools import count

from service.modes.fingerprint import JudgeIdentity

_LONGEST = 200


def flowchart(judge: JudgeIdentity) -> str:
    """A composition points at its members."""
    return "\n".join(["flowchart TD", *(f"  {line}" for line in _lines(judge, 0, count(1)))])


def _lines(judge: JudgeIdentity, number: int, numbers: Iterator[int]) -> Iterator[str]:
    facts = judge.identity.facts
    rule = [f"{name} {value}" for name, value in facts.items() if name not in ("kind", "members")]
    about = [judge.identity.model] if not judge.members else [judge.identity.engine, *rule]
    texts = [judge.name or judge.identity.model, *about, judge.fingerprint]
    yield f'j{number}["{"<br>".join(map(_text, texts))}"]'
    for member in judge.members:
        n = next(numbers)
        yield from _lines(member, n, numbers)
        yield f"j{number} --> j{n}"


def _text(text: str) -> str:
    """As Mermaid writes characters that mean something to it or to HTML; what cannot be seen is a space."""
    shown = "".join(character if character.isprintable() else " " for character in text[:_LONGEST])
    return re.sub(r"[\"#&;<>`\\]", lambda found: f"#{ord(found[0])};", shown)

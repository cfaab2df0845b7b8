"""Makes the question by which a chat model says a criterion in other words, and reads what it answers. Pure.

Guarantees: a text is taken where it can be a criterion, is not the old one and is not much longer. Where it is not,
there is none, and nothing is put in its place here.
"""

from collections.abc import Mapping

from trainer_client import wire

ATTEMPTS = 3
_LONGER_THAN = 3.0
_MORE_CHARACTERS = 80
_TASK = (
    "You rewrite grading criteria. Say the criterion below in other words. It must ask for exactly the same: whatever "
    "meets the old text meets the new one, and nothing else does. Keep every number, name, unit, condition and "
    "negation. Write the new criterion and nothing else.\n\nCriterion: {}"
)


def messages(text: str) -> list[Mapping[str, str]]:
    return [{"role": "user", "content": _TASK.format(text.strip())}]


def read(answer: str, text: str) -> str | None:
    """The new text, without quotes or a label around it; None where it cannot be used."""
    found = answer.strip().removeprefix("Criterion:").strip()
    if len(found) > 1 and found[0] == found[-1] and found[0] in "\"'`":
        found = found[1:-1].strip()
    same = " ".join(found.casefold().split()) == " ".join(text.casefold().split())
    too_long = len(found) > _LONGER_THAN * len(text) + _MORE_CHARACTERS
    return None if same or too_long or not wire.says_something(found) else found

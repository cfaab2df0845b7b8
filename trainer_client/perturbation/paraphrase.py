"""Makes the question by which a chat model says a criterion in other words, and reads what it answers. Pure.

Guarantees: a text is taken where it can be a criterion, is not the old one, is not much longer, and does not speak of a
criterion where the old one does not. Where it is not, there is none, and nothing is put in its place here.
"""

import re
from collections.abc import Mapping

from trainer_client import wire

ATTEMPTS = 3
_LONGER_THAN = 3.0
_MORE_CHARACTERS = 80
_LABEL = re.compile(r"^(?:(?:the|here is the)\s+)?(?:new|rewritten)?\s*criterion(?:\s+is)?\s*:\s*", re.IGNORECASE)
_TASK = (
    "You rewrite grading criteria. Say the criterion below in other words. It must ask for exactly the same: whatever "
    "meets the old text meets the new one, and nothing else does. Keep every number, name, unit, condition and "
    "negation. Write the new criterion and nothing else.\n\nCriterion: {}"
)


def messages(text: str) -> list[Mapping[str, str]]:
    return [{"role": "user", "content": _TASK.format(text.strip())}]


def read(answer: str, text: str) -> str | None:
    """The new text, without quotes or a label around it; None where it cannot be used."""
    found = _LABEL.sub("", answer.strip()).strip()
    if len(found) > 1 and found[0] == found[-1] and found[0] in "\"'`":
        found = found[1:-1].strip()
    same = " ".join(found.casefold().split()) == " ".join(text.casefold().split())
    too_long = len(found) > _LONGER_THAN * len(text) + _MORE_CHARACTERS
    speaks_of_itself = "criteri" in found.casefold() and "criteri" not in text.casefold()
    return None if same or too_long or speaks_of_itself or not wire.says_something(found) else found

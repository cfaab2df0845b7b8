"""Finds the choice that a response to a multiple-choice question states, in time linear in its length.

Guarantees: a letter is returned if the response states it and states no other beside it. "Answer: A or B", "The answer
is a long story" and an empty response are all None.
"""

import re
from collections import deque

# White space, quotes, brackets, emphasis and a LaTeX text command may stand around a letter.
_OPENING = r"""(?:[\s*_`"'(\[{$:]|\\(?:text|textbf|mathrm|mathbf|bf|rm)\b)*+"""
_CLOSING = r"""[\s*_`"')\]}$]*+"""

# A letter is a choice if it is not part of a word or a formula. "a" and "I" are words: they count where the statement
# ends after them or goes on with a reason.
_LETTER = (
    r"""(?<![A-Za-z0-9])([A-Za-z])(?=[.,;:!?](?!\w)|[*_`"')\]}$]|/|\s*$|\s*\n|\s+[-\u2013\u2014]\s"""
    r"|\s+(?i:because|since|as|for|and|or|but|so|which|is)\b|(?<![AaIi])\s+[A-Za-z(])"
)
_STATED = re.compile(
    r"(?i:\banswer\b)(?:\s++(?i:option|choice|letter)\b)?+[\"'*_`]*+\s*+(?:(?i:is|would\ be|should\ be)\b|[:=\-])"
    + _OPENING
    + r"(?:(?i:the\s++)?(?i:option|choice|letter)\b"
    + _OPENING
    + r")?+"
    + _LETTER
    + r"|\\boxed\s*+\{"
    + _OPENING
    + r"([A-Za-z])(?=\s*+[.,:)}\]$])",
)
_ANOTHER = re.compile(_CLOSING + r"(?:,|/|&|(?i:or|and)\b)" + _OPENING + _LETTER)
_LONE = re.compile(r"""^[\s*_`"'(\[{$>#-]*+([A-Za-z])[\s*_`"')\]}$.:,;!]*+$""")
_BRACKETED = re.compile(r"(?<![\w\\])\(([A-Za-z])\)(?!\w)")


def stated_choice(response: str) -> str | None:
    """The stated letter in upper case, or None where the response states none or several.

    The last `answer is X`, `Answer: X`, `"answer": "X"` or `\\boxed{X}` decides. Without any, the last line that is a
    lone letter or holds letters in brackets, like `(X)`, decides, if they are one letter.
    """
    last = next(iter(deque(_STATED.finditer(response), maxlen=1)), None)
    if last is not None:
        return None if _ANOTHER.match(response, last.end()) else (last.group(1) or last.group(2)).upper()
    for line in reversed(response.splitlines()):
        if not line:  # a text of empty lines took five times as long as any other
            continue
        letters = {letter.upper() for letter in _LONE.findall(line) or _BRACKETED.findall(line)}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None

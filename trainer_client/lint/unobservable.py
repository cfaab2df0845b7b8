"""Tells criteria that a judge cannot decide from the response alone: whether it is true, what a reader feels, what the
model thought, how it was made, how it compares with another response. Pure.
"""

import re

from trainer_client.lint.words import READ_CHARACTERS, SUBJECT

_TRUE = (
    r"(?:accurate|correct|true|right|factual|error-free|valid|evidence-based|up-to-date|fact-checked|reliable"
    r"|trustworthy)"
)
_UNTRUTHS = (
    r"(?:errors?|mistakes?|inaccuracies|falsehoods?|hallucinations?|misinformation"
    r"|(?:incorrect|false|inaccurate|wrong|misleading)\s+(?:information|statements?|claims?|facts?|content|details?))"
)
_HOW = r"(?:(?:\w+ly|all|always|factual|serious|significant|major|obvious)\s+)*"
_READER = r"(?:the\s+)?(?:user|reader|patient|student|customer|client)s?"
_FEELS = (
    r"(?:feels?|feeling|understands?|trusts?|satisfied|happy|reassured|confident|learns?|remembers?"
    r"|(?:is|are)\s+(?:satisfied|happy|reassured))"
)
_TOLD = r"(?:asked|told|informed|advised|warned|given|referred|instructed|directed|encouraged|reminded|addressed)"

_PATTERNS = (
    # its truth, where the fact is not named
    rf"{SUBJECT}(?:is|are|be|should\s+be|must\s+be|remains|stays)\s+{_HOW}{_TRUE}(?:\s+and\s+{_HOW}{_TRUE})*\W*$",
    rf"{SUBJECT}(?:does\s+not|doesn['\u2019]t|should\s+not|must\s+not)\s+(?:contain|include|have|make|give|provide)\s+"
    rf"(?:any\s+)?{_HOW}{_UNTRUTHS}\W*$",
    rf"{SUBJECT}(?:is\s+free\s+(?:of|from)|contains?(?:\s+no)?|has(?:\s+no)?|includes?(?:\s+no)?|makes?(?:\s+no)?"
    rf"|avoids?)\s+(?:any\s+)?{_HOW}{_UNTRUTHS}\W*$",
    rf"{SUBJECT}(?:contains?|provides?|gives?|includes?|presents?|states?)\s+(?:only\s+)?{_HOW}{_TRUE}"
    rf"(?:\s+and\s+{_HOW}\w+)?\s+(?:information|facts|statements|content|claims|answers?)\W*$",
    # what a reader feels or does
    rf"^\W*(?:after\s+[^,]{{1,40}}?,?\s*)?{_READER}\s+(?:is|are|will(?:\s+be)?|would(?:\s+be)?|feels?|likes?|enjoys?"
    rf"|learns?|understands?|trusts?)\s+(?!{_TOLD})",
    rf"{SUBJECT}(?:\w+\s+){{0,12}}?so\s+that\s+{_READER}\s+{_FEELS}\b",
    rf"{SUBJECT}(?:makes?|leaves?|helps?|lets?|ensures?(?:\s+that)?)\s+{_READER}\s+(?:to\s+)?{_FEELS}\b",
    # what the model thinks or how the response was made
    r"^\W*(?:the\s+)?(?:response|answer|assistant|model|author)\s+(?:knows|believes|thinks|intends|genuinely|truly|really"
    r"|has\s+understood|understood|understands|has\s+(?:considered|read|seen|thought)|considered|cares)\b",
    rf"{SUBJECT}(?:was|were|has\s+been)\s+(?:\w+ly\s+)?(?:written|checked|verified|reviewed|based|trained|tested|generated"
    r"|approved|researched)\s+(?:by|against|after|on|with|using|without)\b",
    # another response
    r"\b(?:unlike|than|like)\s+(?:the\s+)?(?:other|previous|first|second|alternative|rejected|chosen|baseline)\s+"
    r"(?:response|answer|model|output)s?\b",
    r"\b(?:unlike|than|like)\s+(?:the\s+)?(?:model|response|answer)\s+(?-i:[A-Z]|\d)\b",
)
_UNOBSERVABLE = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _PATTERNS)


def is_unobservable(text: str) -> bool:
    begins = text[:READ_CHARACTERS]
    return any(pattern.search(begins) for pattern in _UNOBSERVABLE)

"""Looks for criteria whose words and whose sign say opposite things. Pure.

That a response leaves something out is a fault like any other, so "Does not mention ..." with negative points is sound.
What is looked for is an avoidance that is good ("Does not confuse ...", "Should not recommend ...") with negative
points, and a fault with positive ones.
"""

import re
from collections.abc import Sequence

from trainer_client.lint.codes import Entry, Findings, Found
from trainer_client.lint.words import READ_CHARACTERS, SUBJECT

_WRONG = (
    r"(?:incorrect|wrong|false|misleading|inaccurate|erroneous|irrelevant|unnecessary|redundant|fabricated|hallucinated"
    r"|invented|made-up|unsupported|unfounded|contradictory|offensive|sexist|racist|abusive|judgmental|judgemental|condescending|overly|excessive"
    r"|excessively|unsolicited|discriminatory|biased|vague|off-topic)"
)
_HARMFUL = (
    rf"(?:{_WRONG}|harmful|unsafe|dangerous|inappropriate|unproven|outdated|contraindicated|ineffective|reckless"
    "|illegal)"
)
_ERRORS = (
    r"(?:errors?|mistakes?|hallucinations?|inaccuracies|falsehoods?|jargon|contradictions?|repetitions?|typos|filler)"
)
_BAD_VERB = (
    r"(?:confus|misstat|misrepresent|misinterpret|misunderst|mislead|misus|misidentif|mislabel|misquot|miscalculat|misattribut|hallucinat|fabricat|invent|exaggerat|overstat"
    r"|understat|downplay|trivializ|trivialis|minimiz|minimis|dismiss|ignor|omit|overlook|neglect|fail|contradict|blam|sham|insult|scold|lectur|mock"
    r"|belittl|patroniz|patronis|stigmatiz|alarm|frighten|scar|endanger|encourag\w*\s+(?:self-harm|violence)|violat|plagiari|repeat|rambl|conflat|overcomplicat|oversimplif|leak|swallow|crash|jump\s+to|leave\s+out|forget|skip)"
)
_ADVISING = r"(?:recommend|advis|suggest|promot|encourag|endors|prescrib|propos|us)(?:e|es|ed|ing|s)?"
_TELLING = (
    r"(?:tell|advis|recommend|suggest|encourag|instruct|urg)(?:e|es|ed|ing|s)?(?:\s+(?:the\s+)?(?:user|patient|reader)s?)?"
    r"\s+(?:to\s+)?(?:ignor|neglect|skip|delay|dismiss|endur|hide|hiding|lie|lying|cheat|harm|stop\w*\s+(?:all\s+)?medic)"
)
_HOLDING = r"(?:contain|includ|giv|provid|mak|hav|us|add|offer|present|introduc|has|is|are|be)(?:e|es|ed|ing|s)?"
_A = r"(?:\s+(?:any|a|an|the|with))?\s+"

# What is avoided and is bad in itself: that it is avoided is good.
_BAD_THING = (
    rf"(?:\w+ly\s+)?(?:{_BAD_VERB}\w*|{_ADVISING}{_A}{_HARMFUL}\b|{_HOLDING}{_A}(?:factual\s+)?(?:{_WRONG}|{_ERRORS})\b"
    rf"|{_TELLING}|(?:{_WRONG}|{_ERRORS})\b)"
)
_ABSENCE = (
    r"(?:(?:does|do|did|is|are|has|have)(?:\s+not|n['\u2019]t)|never|contains?\s+no|makes?\s+no|gives?\s+no|has\s+no"
    r"|uses?\s+no|without)\s+"
)
_GOOD_ABSENCE = re.compile(SUBJECT + _ABSENCE + _BAD_THING, re.IGNORECASE)
_NORM = re.compile(
    SUBJECT + r"(?:(?:must|should|shall|ought\s+to)\s+(?:not|never)\b|(?:must|should)n['\u2019]t\b"
    r"|do\s+not\b|don['\u2019]t\b|(?:must|should)?\s*never\s+(?!\w+s\b)\w+"
    r"|is\s+free\s+(?:of|from)\b|(?:must|should)\s+(?:avoid|refrain))",
    re.IGNORECASE,
)
"""What a writer says of what ought not to be. A response that keeps to it meets it."""
_AVOIDS = re.compile(
    SUBJECT + r"(?:\w+ly\s+)?(?:avoid(?:s|ed|ing)?|refrain(?:s|ed|ing)?\s+from)\s+(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_EVADED = re.compile(
    r"(?:(?:directly|clearly|explicitly)\s+)?(?:answer|address|giv|provid|mention|discuss|stat|say|tak|commit|engag|explain|acknowledg|ask|warn"
    r"|the\s+(?:question|topic|issue|subject)|responsib|responding|naming|telling|recommending\s+(?:an?\b|professional|medical|seeing|seeking)|advising\s+(?:the\s+user\s+to\s+)?see)",
    re.IGNORECASE,
)
"""What it is a fault to avoid."""
_FAULT = re.compile(
    SUBJECT + r"(?:fail(?:s|ed|ing)?\s+to|neglect(?:s|ed|ing)?|omit(?:s|ted|ting)?|overlook(?:s|ed|ing)?|lacks?"
    r"|leaves?\s+out|forgets?|skips?"
    r"|ignor(?:es|ed|ing)|(?:incorrectly|wrongly|falsely|erroneously|mistakenly|inappropriately|improperly|unnecessarily|inaccurately)"
    r"|misstat(?:es|ed|ing)|misrepresent(?:s|ed|ing)?|misinterprets?|hallucinat(?:es|ed|ing)|fabricat(?:es|ed|ing)|exaggerat(?:es|ed|ing)"
    r"|dismiss(?:es|ed|ing)?|confus(?:es|ed|ing)|conflates?|downplay(?:s|ed)?|trivializ(?:es|ed)|insults?|blames?|belittles?|mocks?"
    r"|mis(?:quot|label|identif|calculat|attribut|us)\w*s|leaks?|plagiari[sz]es|violates|oversimplifies|overcomplicates"
    r"|(?:invents?|makes\s+up)\s+(?:\w+\s+)?(?:citations?|sources?|references?|facts?|quotes?|quotations?|law|cases?|data|studies|numbers)"
    rf"|(?:recommend|advise|suggest|promote|encourage|endorse|prescribe)s{_A}{_HARMFUL}"
    rf"|(?:contain|include|give|provide|make|use|present|offer)s{_A}(?:{_WRONG}|{_ERRORS})|is\s+(?:overly|too|unnecessarily)\s+\w+)\b",
    re.IGNORECASE,
)
_OMITS = re.compile(
    SUBJECT
    + r"(?:omit|ignor|lack|overlook|neglect|dismiss)\w*"
    + rf"{_A}(?:{_HARMFUL}|{_ERRORS}|myths?|distract\w+|misinformation|spam)\b",
    re.IGNORECASE,
)
"""To leave out what is bad is good."""


def double_negation(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        if one.worth >= 0:
            continue
        text = one.text[:READ_CHARACTERS]
        if _GOOD_ABSENCE.match(text) or _NORM.match(text) or _avoids_what_is_bad(text):
            yield Found(
                one.place,
                "double_negation",
                "negative points make it a fault to meet this, and a response meets it by avoiding what seems bad",
                "if it is good to meet it, make the points positive or set `polarity` to `positive`; if not, name the "
                "fault plainly, as in `Recommends …` or `Fails to …`",
            )


def _avoids_what_is_bad(text: str) -> bool:
    found = _AVOIDS.match(text)
    if found is None:
        return False
    rest = found["rest"]
    evaded = _EVADED.match(rest)
    return evaded is None or re.match(rf"\w+{_A}(?:\w+ly\s+)?{_HARMFUL}\b", rest, re.IGNORECASE) is not None


def rewarded_fault(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        text = one.text[:READ_CHARACTERS]
        if one.worth > 0 and _FAULT.match(text) and not _OMITS.match(text):
            yield Found(
                one.place,
                "rewarded_fault",
                "positive points reward meeting this, and the text begins as a fault does",
                "if it is bad to meet it, make the points negative or set `polarity` to `negative`",
            )

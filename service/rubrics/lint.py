"""Finds in a rubric what a person should look at, without judging anything. Pure.

Guarantees: a finding says what to change and quotes no text of the rubric. An "error" means that scoring is refused or
gives no score; everything else is a guess about wording and a "warning". `docs/guide/lint.md` lists the codes.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from service.rubrics.formulas import Aggregation, tag_of
from service.rubrics.rubric import Criterion

Severity = Literal["error", "warning"]

CODES: Mapping[str, Severity] = MappingProxyType(
    {
        "nothing_counted": "error",
        "mixed_categories": "error",
        "contradiction": "error",
        "no_positive_points": "warning",
        "no_categories": "warning",
        "no_essential": "warning",
        "no_tagged": "warning",
        "dominant_weight": "warning",
        "duplicate_text": "warning",
        "double_negation": "warning",
        "rewarded_fault": "warning",
        "compound": "warning",
        "vague": "warning",
        "unobservable": "warning",
        "too_long_text": "warning",
    }
)
MAX_TEXT_CHARACTERS = 600
_BY_POINTS = {
    "healthbench",
    "healthbench_clipped",
    "weighted_abs",
    "gated",
    "conjunctive",
    "factual_gate",
    "veto",
    "caps",
    "saturation",
}
_READ_CHARACTERS = 2_000
"""The wording is looked at up to here, so that a long text costs no more than one that is merely too long."""

_SUBJECT = r"^\W*+(?:the\s+)?(?:(?:response|answer|assistant|model|output|reply|explanation|text)\s+)?"
_AVOIDANCE = re.compile(
    _SUBJECT + r"(?:(?:does|do|did|must|should|may|can|is|are|has|have|will)\s+not|cannot"
    r"|(?:does|do|did|must|should|ca|is|are|has|have|wo)n['\u2019]t"
    r"|(?:must|should)?\s*never|(?:must|should)?\s*avoid(?:s|ing)?|refrain(?:s|ing)?|contains?\s+no|makes?\s+no|is\s+free\s+of)\b",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    _SUBJECT + r"(?:fail(?:s|ed|ing)?\s+to|neglect(?:s|ed|ing)?|omit(?:s|ted|ting)?|overlook(?:s|ed|ing)?"
    r"|ignor(?:es|ed|ing)|(?:incorrectly|wrongly|falsely|erroneously|mistakenly)|misstat(?:es|ed|ing)"
    r"|misrepresent(?:s|ed|ing)?|hallucinat(?:es|ed|ing)|fabricat(?:es|ed|ing))\b",
    re.IGNORECASE,
)
_VERBS = (
    "advises asks avoids calculates concludes defines derives describes discusses encourages explains gives highlights "
    "identifies includes indicates lists mentions notes offers outlines presents provides recommends refers shows "
    "specifies states suggests tells uses warns"
).replace(" ", "|")
_COMPOUND = re.compile(
    rf";\s*\S|\band/or\b|\bas\s+well\s+as\b|\b(?:and|or)\s+(?:also\s+|then\s+)?(?:(?:does|do)\s+not|{_VERBS})\b"
    r"|[.!?]\s+(?:it|the\s+(?:response|answer))\s+(?:also|must|should)\b",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:appropriate(?:ly)?|adequate(?:ly)?|proper(?:ly)?|sufficient(?:ly)?|reasonabl[ey]|suitabl[ey]|good|nice(?:ly)?"
    r"|helpful(?:ly)?|high[- ]quality|well[- ](?:written|structured|organi[sz]ed)|as\s+(?:needed|necessary)|etc)\b",
    re.IGNORECASE,
)
_UNOBSERVABLE = re.compile(
    _SUBJECT
    + r"(?:is|are|be)\s+(?:(?:\w+ly|fully|completely)\s+)?(?:accurate|correct|true|right|factual|error-free)\W*$"
    r"|\b(?:user|reader)\s+(?:is\s+(?:satisfied|happy)|(?:feels|likes|enjoys|learns|understands|trusts)\b)"
    r"|\b(?:response|answer|assistant|model)\s+(?:knows|believes|thinks|intends)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`criterion_id` is None for the rubric as a whole."""

    code: str
    severity: Severity
    criterion_id: str | None
    message: str


def lint(criteria: Sequence[Criterion], aggregation: Aggregation) -> tuple[Finding, ...]:
    """Returns findings about the rubric as a whole first, then by criterion in the rubric's order."""
    found = [finding for check in _CHECKS for finding in check(criteria, aggregation)]
    found.sort(key=lambda finding: -1 if finding[0] is None else finding[0])
    return tuple(
        Finding(code, CODES[code], None if index is None else criteria[index].id, message)
        for index, code, message in found
    )


# Index of the criterion or None for the rubric, code, message.
_Found = Iterator[tuple[int | None, str, str]]


def _nothing_counted(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    if not any(criterion.counted for criterion in criteria):
        message = "every criterion has 0 points, so there will be no score; give some of them points"
        yield None, "nothing_counted", message


def _only_faults(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    signs = {criterion.wanted for criterion in criteria if criterion.counted}
    if signs == {False}:
        best = "0" if aggregation.name == "healthbench" else "1"
        yield (
            None,
            "no_positive_points",
            f"there are only faults, so a response that says nothing gets the best score, {best}; "
            "add a criterion with positive points",
        )


def _categories(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    counted = {i: criterion.category for i, criterion in enumerate(criteria) if criterion.counted}
    if aggregation.name == "rar_explicit" and counted and not any(counted.values()):
        yield (
            None,
            "no_categories",
            "`rar_explicit` weighs by category and there are none, so it weighs by |points|; begin the texts with "
            "`Essential Criteria: ` and the like, or ask for `weighted_abs`, which is the same here",
        )
    elif aggregation.name == "rar_explicit":
        for i, category in counted.items():
            if category is None:
                yield (
                    i,
                    "mixed_categories",
                    "others have a category and this has none, so `rar_explicit` is refused; begin its text with "
                    "`Essential Criteria: `, `Important Criteria: `, `Optional Criteria: ` or `Pitfall Criteria: `",
                )
    if aggregation.name == "gated" and counted and "essential" not in counted.values():
        yield (
            None,
            "no_essential",
            "`gated` lets a response through if it passes every essential criterion, and there is none; begin at "
            "least one text with `Essential Criteria: `, or ask for `weighted_abs`, which is the same here",
        )


def _tags(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    """A formula that looks at a tag, and a rubric where none has it."""
    counted = [criterion for criterion in criteria if criterion.counted]
    if not aggregation.tag or not counted or any(map(aggregation.tagged, counted)):
        return
    others = aggregation.tag_value is not None and any(tag_of(one, aggregation.tag) for one in counted)
    yield (
        None,
        "no_tagged",
        f"`{aggregation.name}` looks at a tag that no counted criterion has{' with that value' if others else ''}, so "
        "it scores like `weighted_abs`; give criteria the tag, or name theirs as its option `tag`",
    )


def _dominance(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    """Of three or more, since of two unequal ones the larger always outweighs the other."""
    counted = {i: abs(criterion.points) for i, criterion in enumerate(criteria) if criterion.counted}
    if len(counted) < 3 or aggregation.name not in _BY_POINTS:
        return
    # Divided first, so that the sum of points near the largest float is a number.
    half = math.fsum(points / (2 * len(criteria)) for points in counted.values())
    for i, points in counted.items():
        if points / len(criteria) > half:
            yield (
                i,
                "dominant_weight",
                "its |points| outweigh all others together, so these hardly show in the score; give it fewer points, "
                "or make it the condition for the rest with `gated`",
            )


def _repetition(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    seen: dict[str, int] = {}
    for i, criterion in enumerate(criteria):
        first = seen.setdefault(" ".join(criterion.text.casefold().split()).rstrip(".!; "), i)
        if first == i or criterion.rule != criteria[first].rule:
            continue
        if criterion.counted and criteria[first].counted and criterion.wanted is not criteria[first].wanted:
            yield (
                i,
                "contradiction",
                f"the criterion at index {first} has the same text and the opposite sign, so one takes back what the "
                "other gives; remove one of them",
            )
        else:
            message = f"the criterion at index {first} has the same text; merge them and add up their points"
            yield i, "duplicate_text", message


def _sign(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    for i, criterion in enumerate(criteria):
        begins = criterion.text[:_READ_CHARACTERS]
        if criterion.points < 0 and _AVOIDANCE.match(begins):
            yield (
                i,
                "double_negation",
                "negative points make it a fault to meet this, and the text begins with a negation; if it is good to "
                "meet it, make the points positive or set `polarity` to `positive`, else name the fault plainly",
            )
        if criterion.points > 0 and _FAILURE.match(begins):
            yield (
                i,
                "rewarded_fault",
                "positive points reward meeting this, and the text begins as a fault does; if it is bad to meet it, "
                "make the points negative or set `polarity` to `negative`",
            )


def _wording(criteria: Sequence[Criterion], aggregation: Aggregation) -> _Found:
    """Only of what a judge will read: a rule does not look at the text."""
    for i, criterion in enumerate(criteria):
        if criterion.rule is not None:
            continue
        for code, pattern, message in _WORDINGS:
            if pattern.search(criterion.text[:_READ_CHARACTERS]):
                yield i, code, message
        if len(criterion.text) > MAX_TEXT_CHARACTERS:
            message = f"it is longer than {MAX_TEXT_CHARACTERS} characters; split it, or leave out the reasons"
            yield i, "too_long_text", message


_WORDINGS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "compound",
        _COMPOUND,
        "it asks for several things, and half of them is neither met nor unmet; make them criteria",
    ),
    ("vague", _VAGUE, "a word in it means something else to every judge; say what would be seen in the response"),
    (
        "unobservable",
        _UNOBSERVABLE,
        "a judge cannot see this in the response; state the fact, value or step that the response should contain",
    ),
)
_CHECKS: tuple[Callable[[Sequence[Criterion], Aggregation], _Found], ...] = (
    _nothing_counted,
    _only_faults,
    _categories,
    _tags,
    _dominance,
    _repetition,
    _sign,
    _wording,
)

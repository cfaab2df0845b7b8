"""Names the rules of the lint with their severity, and holds what a rule says about a rubric. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from trainer_client import wire

Severity = Literal["error", "warning"]

CODES: Mapping[str, Severity] = MappingProxyType(
    {
        # the rubric as a whole
        "nothing_counted": "error",
        "no_positive_points": "warning",
        "item_count": "warning",
        "no_categories": "warning",
        "no_essential": "warning",
        "no_tagged": "warning",
        # points and categories
        "mixed_categories": "error",
        "category_order": "warning",
        "weight_range": "warning",
        "dominant_weight": "warning",
        # criteria that say the same, or the opposite
        "contradiction": "error",
        "duplicate_text": "warning",
        "near_duplicate": "warning",
        # levels and choices
        "levels_without_zero": "warning",
        "levels_alike": "warning",
        # sign and words
        "double_negation": "warning",
        "rewarded_fault": "warning",
        "compound": "warning",
        "vague": "warning",
        "generic": "warning",
        "unobservable": "warning",
        "copied_reference": "warning",
        # form
        "too_long_text": "warning",
        "title_length": "warning",
        "category_prefix": "warning",
        "category_conflict": "warning",
        "untidy_text": "warning",
        "tag_form": "warning",
        # asked of a judge, by `trainer_client.lint.judged`
        "judged_duplicate": "warning",
        "judged_contradiction": "warning",
    }
)
FIXED = ("duplicate_text", "category_prefix", "untidy_text", "tag_form")
"""What `trainer_client.lint.fixing` fixes. Of texts that stand twice it removes the later one where everything else is
the same, too."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A criterion as the rules look at it. `written` is its text as it stands, `text` what the judge reads of it."""

    place: int
    id: str
    written: str
    text: str
    worth: float
    category: wire.Category | None
    tags: Mapping[str, str]
    rule: wire.Verifier | None
    options: Sequence[wire.Level] = ()

    @property
    def counted(self) -> bool:
        return self.worth != 0

    @property
    def wanted(self) -> bool:
        return self.worth > 0


@dataclass(frozen=True, slots=True)
class Found:
    """`place` is the criterion's, or None for the rubric as a whole. Neither text quotes the rubric."""

    place: int | None
    code: str
    why: str
    remedy: str


Findings = Iterator[Found]

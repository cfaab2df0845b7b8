"""What is scored: rubrics and candidates, as frozen values. Pure.

Always true: a criterion's `points` carry its sign (negative = a fault, 0 = monitor only) with any polarity override
applied, and its text is what the judge sees, without a category prefix.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Category = Literal["essential", "important", "optional", "pitfall"]
CATEGORIES: tuple[Category, ...] = ("essential", "important", "optional", "pitfall")

# "Essential Criteria: …" as RaR's rows begin, and the misspellings that its released rows hold.
_PREFIX = re.compile(r"^\s*([A-Za-z]{5,12})\s+crit[a-z]{2,8}\s*[:\-\u2013]\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """A verifier that decides by computing. `name` is one of WIRE's rules; `params` are its other fields."""

    name: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Criterion:
    id: str
    text: str
    points: float
    category: Category | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    rule: Rule | None = None

    @property
    def counted(self) -> bool:
        return self.points != 0

    @property
    def wanted(self) -> bool:
        """Whether being met is good."""
        return self.points > 0


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response with what it is scored by. `turns` is the conversation before the response."""

    id: str
    turns: tuple[Turn, ...]
    response: str
    criteria: tuple[Criterion, ...]
    reference: str | None = None
    group: str | None = None


def category_of(word: str) -> Category | None:
    """The category that `word` names or almost names ("Esential", "Pitfal"). Its first letter must be right: words that
    begin otherwise mean otherwise ("Inessential")."""
    match = get_close_matches(word.lower(), CATEGORIES, n=1, cutoff=0.8)
    return next((category for category in CATEGORIES if category in match and word[0].lower() == category[0]), None)


def split_prefix(text: str) -> tuple[Category | None, str]:
    """Category and remaining text of `"<Category> Criteria: …"`; `(None, text)` where there is no such prefix."""
    found = _PREFIX.match(text)
    category = category_of(found.group(1)) if found else None
    if found is None or category is None or not text[found.end() :]:
        return None, text
    return category, text[found.end() :]


def signed(points: float, polarity: str | None) -> float:
    """`points` with the sign that `polarity` asks for; without one, as given. Zero has none."""
    if polarity is None or points == 0:
        return points + 0.0
    return abs(points) if polarity == "positive" else -abs(points)

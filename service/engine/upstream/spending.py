"""Reads from a reply what a call took, and shares it among the call's outcomes. Pure.

Guarantees: a number that is missing, or is none of its kind, is no number: tokens are then those that were sent, and
there is no price. Together the outcomes of a call took what the call took.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from service.engine.base import Decision, Document
from service.errors import JudgementError, Spent

_T = TypeVar("_T", bound=Decision | Document | JudgementError)

NOT_SENT = Spent(cost=0.0)
"""Of what never reached the server."""


@dataclass(frozen=True, slots=True)
class UsageFields:
    """The names of a protocol's fields in `usage`."""

    read: str
    details: str
    written: str


CHAT = UsageFields("prompt_tokens", "prompt_tokens_details", "completion_tokens")
DECISIONS = UsageFields("input_tokens", "input_tokens_details", "output_tokens")


def spent_of(reply: Any, fields: UsageFields, words: int) -> Spent:
    """`words` is how much was sent."""
    usage = _mapping(reply, "usage")
    prompt = _count(usage.get(fields.read))
    prompt = words if prompt is None else prompt
    cached = _count(_mapping(usage, fields.details).get("cached_tokens")) or 0
    written = _count(usage.get(fields.written)) or 0
    return Spent(prompt, min(cached, prompt), written, _dollars(usage.get("cost")))


def total(parts: Sequence[Spent | None]) -> Spent:
    """There is a price where each part has one: of some it would look like the whole."""
    known = [one for one in parts if one is not None]
    costs = [one.cost for one in known if one.cost is not None]
    return Spent(
        sum(one.prompt_tokens for one in known),
        sum(one.cached_tokens for one in known),
        sum(one.generated_tokens for one in known),
        math.fsum(costs) if len(costs) == len(parts) else None,
    )


def shared_out(outcomes: Sequence[_T], spent: Spent) -> list[_T]:
    """All of it stands at the first outcome."""
    nothing = Spent(cost=None if spent.cost is None else 0.0)
    return [having(one, nothing if place else spent) for place, one in enumerate(outcomes)]


def having(outcome: _T, spent: Spent) -> _T:
    if isinstance(outcome, JudgementError):
        outcome.after(spent)
        return outcome
    return replace(outcome, spent=spent)


def _mapping(document: Any, name: str) -> dict[str, Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _dollars(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if known else None

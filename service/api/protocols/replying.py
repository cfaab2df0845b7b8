"""What every reply here has in common: JSON, and what to say of verdicts that are missing."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, get_args

from service.errors import JudgementError, NotJudged
from trainer_client import wire

_LATER = frozenset(error.code for error in JudgementError.__subclasses__() if error.retryable)


def written(reply: Any) -> bytes:
    return json.dumps(reply, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def missing(results: Iterable[wire.Result]) -> Counter[str]:
    """How many criteria have no verdict, by status."""
    return Counter(criterion.status for one in results for criterion in one.criteria if criterion.status != "ok")


def reason(results: Iterable[wire.Result]) -> str:
    """Why there is no score, in a sentence without text of the request."""
    found = missing(results)
    if not found:
        return "nothing in this rubric counts"
    statuses = ", ".join(f"{status} {found[status]}" for status in get_args(wire.CriterionStatus) if found[status])
    return f"criteria without a verdict: {statuses}"


def not_judged(results: Iterable[wire.Result]) -> NotJudged:
    """The error for a protocol that knows numbers only."""
    without = [one for one in results if one.score is None]
    again = _LATER & missing(without).keys()
    return NotJudged(f"{len(without)} response(s) were not judged; {reason(without)}", 1.0 if again else None)

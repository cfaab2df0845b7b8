"""Reads a verdict that the judge generated as a JSON document, its reasons first. Pure.

Guarantees: only a whole document of the schema is a verdict; one that is cut off, names a field twice, or is anything
else, is Unparseable. So is one whose explanation is empty or repeats labels.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from service.engine.base import Generation
from service.errors import Unparseable
from service.rubrics.judgement import Verdict

_FIELDS = {"explanation": str, "criteria_met": bool}
_WORD = re.compile(r"\w+")
_LABELS = ("yes", "no", "true", "false", "not", "met", "unmet")


def verdict_schema(explanation_chars: int) -> str:
    """The JSON schema of a written verdict: an explanation of at most so many characters, then the verdict."""
    return json.dumps(
        {
            "type": "object",
            "properties": {
                "explanation": {"type": "string", "maxLength": explanation_chars},
                "criteria_met": {"type": "boolean"},
            },
            "required": list(_FIELDS),
            "additionalProperties": False,
        },
        separators=(",", ":"),
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def read_written_verdict(generation: Generation, labels: Sequence[str] = ()) -> Verdict:
    """The verdict, P(met) 1 or 0, with its explanation. `labels` are those of the judge. Raises Unparseable."""
    if not generation.finished:
        raise Unparseable("the judge ran out of tokens before its verdict: raise `reasoned_tokens`")
    try:
        document = json.loads(generation.text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise Unparseable("the judge wrote something that is not JSON") from None
    if not isinstance(document, dict) or {key: type(value) for key, value in document.items()} != _FIELDS:
        raise Unparseable("the judge wrote a JSON document that is no verdict")
    if not _explains(document["explanation"], labels):
        raise Unparseable("the judge repeated the labels where its explanation belongs, or explained nothing")
    return Verdict(p_met=float(document["criteria_met"]), label_mass=None, explanation=document["explanation"])


def _explains(explanation: str, labels: Sequence[str]) -> bool:
    """Whether there is a word besides labels, which a judge that has learned labels alone writes one after the other,
    also without blanks between them."""
    known = "|".join(re.escape(label.strip().lower()) for label in (*_LABELS, *labels) if label.strip())
    repeated = re.compile(f"(?:{known})+")
    return any(repeated.fullmatch(word) is None for word in _WORD.findall(explanation.lower()))

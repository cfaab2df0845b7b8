"""Reads what the judge wrote in mode `reasoned`: a JSON document, its reasons first, then its verdict. Pure.

Guarantees: only a whole document of the schema has an explanation; one that is cut off, names a field twice, or is
anything else, is Unparseable.
"""

import json
from collections.abc import Mapping
from typing import Any

from service.engine.base import Generation
from service.errors import Unparseable

BOOLEANS = ("true", "false")
"""The words at the verdict's place: met, and not met."""

VERDICT_KEY = ', "criteria_met":'
"""What stands in a document between its explanation and its verdict."""

VERDICT_FIELDS = {"explanation": str, "criteria_met": bool}
OPTION_FIELDS = {"explanation": str, "option": str}
"""The fields of a document and their types: with a verdict, and with an option of a graded criterion."""


def verdict_schema(explanation_chars: int) -> str:
    """The JSON schema of a written verdict: an explanation of at most so many characters, then the verdict."""
    return json.dumps(
        {
            "type": "object",
            "properties": {
                "explanation": {"type": "string", "maxLength": explanation_chars},
                "criteria_met": {"type": "boolean"},
            },
            "required": list(VERDICT_FIELDS),
            "additionalProperties": False,
        },
        separators=(",", ":"),
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def read_explanation(generation: Generation, fields: Mapping[str, type] = VERDICT_FIELDS) -> str:
    """The explanation in a whole document. The verdict behind it is read from the judge's probabilities at its place,
    since constrained text is a verdict whatever the judge would have said there. Raises Unparseable."""
    if not generation.finished:
        raise Unparseable("the judge ran out of tokens before its verdict: raise `reasoned_tokens`")
    try:
        document = json.loads(generation.text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise Unparseable("the judge wrote something that is not JSON") from None
    if not isinstance(document, dict) or {key: type(value) for key, value in document.items()} != fields:
        raise Unparseable("the judge wrote a JSON document that is no verdict")
    explanation: str = document["explanation"]
    if not is_text(explanation):
        raise Unparseable("the judge wrote an explanation with half a character in it")
    return explanation


def is_text(explanation: str) -> bool:
    """Whether it can be written as UTF-8: JSON's escapes can name one half of a character without the other."""
    try:
        explanation.encode()
    except UnicodeEncodeError:
        return False
    return True


def document_up_to_verdict(explanation: str) -> str:
    """The document that holds this explanation, up to `VERDICT_KEY`."""
    return f'{{"explanation": {json.dumps(explanation, ensure_ascii=False)}'

"""Chooses between one whole answer and a streamed one by a request's `Accept` header, as RFC 9110 weighs it."""

import re
from collections.abc import Iterable

JSON, NDJSON = "application/json", "application/x-ndjson"

_WEIGHT = re.compile(r"(0(\.\d{0,3})?|1(\.0{0,3})?)")


def wants_lines(accept: Iterable[str]) -> bool:
    """Returns whether the answer is streamed: its media type is named, and is wanted at least as much as JSON."""
    weights: dict[str, float] = {}
    for media_range in ",".join(accept).split(","):
        name, *parameters = (part.strip().lower() for part in media_range.split(";"))
        weights[name] = next((_weight(one) for one in parameters if one.startswith("q=")), 1.0)
    lines = weights.get(NDJSON, 0.0)
    whole = next((weights[name] for name in (JSON, "application/*", "*/*") if name in weights), 0.0)
    return lines > 0 and lines >= whole


def _weight(parameter: str) -> float:
    """0 for what is no weight."""
    value = parameter.removeprefix("q=")
    return float(value) if _WEIGHT.fullmatch(value) else 0.0

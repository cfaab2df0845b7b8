"""What no line may say, and a bug that says it."""

from collections.abc import Callable
from typing import Any

SECRET = "CANARY-7F3A"
Lines = Callable[[], list[dict[str, Any]]]
"""What was written since the last call, in JSON, a line each."""


def fail(say: str = SECRET) -> None:
    """As a bug would, in the words of a request."""
    try:
        raise KeyError(say)
    except KeyError as error:
        raise ValueError(say) from error

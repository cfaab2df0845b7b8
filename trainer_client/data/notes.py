"""Tells a person what the reader of files noticed, each note once, on stderr."""

import sys
from collections.abc import Callable


def once() -> Callable[[str], None]:
    """For `Law.say`."""
    told: set[str] = set()

    def say(note: str) -> None:
        if note not in told:
            told.add(note)
            print(f"rubricd: note: {note}", file=sys.stderr)

    return say

"""Reads the lines of a file to which a command adds lines, such as answers that it does not pay for again.

Guarantees: a last line that a kill has torn is no line, and is cut off, so that the next one which is added stands by
itself.
"""

from collections.abc import Iterator
from typing import IO


def whole_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1. The file is open to be read and written; it is cut when all have been read."""
    whole = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            file.truncate(whole)
            return
        whole += len(line)
        yield number, line

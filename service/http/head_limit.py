"""Bounds what a parser keeps of a head that is not whole yet, and what stands between the parts of a body.

Guarantees: a head that the parser hands out piece by piece ends at its limit, and so does one of which it hands out
nothing: then all bytes count that came and were no part of a body or of a whole head.
"""

_SLACK_BYTES = 1024
"""Of pipelined requests' line ends, methods and versions, which no callback of the parser counts."""


class HeadLimit:
    """`in_head` from the beginning of a request until its head is whole."""

    def __init__(self, most_bytes: int) -> None:
        self.in_head = False
        self._most_bytes = most_bytes
        self._head_bytes = 0
        self._silent_bytes = 0
        self._known_bytes = 0
        self._began = self._moved = False

    def begin_data(self) -> None:
        """Data has come, and the parser gets it."""
        self._began = self._moved = False
        self._known_bytes = 0

    def begin_head(self) -> None:
        self.in_head = self._began = self._moved = True
        self._head_bytes = 0

    def take_head(self, size: int) -> bool:
        """Returns whether the head may have more bytes, with these."""
        self._head_bytes += size
        return self._head_bytes <= self._most_bytes

    def end_head(self) -> None:
        self.in_head = False
        self._known_bytes += self._head_bytes

    def take_body(self, size: int = 0) -> None:
        """A part of a body, its beginning or its end."""
        self._moved = True
        self._known_bytes += size

    def end_data(self, size: int) -> bool:
        """The parser has read so many bytes. Returns whether it may get more."""
        silent_bytes = size - self._known_bytes
        if self.in_head:
            self._silent_bytes = silent_bytes if self._began else self._silent_bytes + silent_bytes
        else:
            self._silent_bytes = 0 if self._moved else self._silent_bytes + silent_bytes
        return self._silent_bytes <= self._most_bytes + _SLACK_BYTES

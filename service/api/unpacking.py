"""Unpacks request bodies that come with `Content-Encoding: gzip`, piece by piece, before any route reads them.

Guarantees: what is unpacked is bounded as what comes plain is: a body that would be longer is refused when it gets
there. The event loop goes on between pieces of at most 256 KiB. A route sees the length of no packed body, so that a
team is charged for what was unpacked.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, InvalidRequest

PIECE_BYTES = 262_144
_PACKED = 31
"""zlib's number for gzip's format."""


class UnpackedBodies:
    """Stands before the routes. `max_bytes` bounds the unpacked body."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-encoding":
                    receive = Unpacking(receive, value.strip().lower(), self._max_bytes)
                    scope = {**scope, "headers": [one for one in scope["headers"] if one[0] not in _OF_PACKED]}
                    break
        await self._app(scope, receive, send)


_OF_PACKED = (b"content-encoding", b"content-length")


class Unpacking:
    """Stands in for `receive` of one request: its messages have the unpacked body."""

    def __init__(self, receive: Receive, encoding: bytes, max_bytes: int) -> None:
        self._receive = receive
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._pieces: deque[Iterator[bytes]] = deque()
        self._unpacked = 0
        self._member = zlib.decompressobj(_PACKED)
        self._ended = False

    async def __call__(self) -> Message:
        """Raises InvalidRequest for what is not in the format, and BodyTooLarge."""
        if self._encoding == b"identity":
            return await self._receive()
        if self._encoding not in (b"gzip", b"x-gzip"):
            raise InvalidRequest("`Content-Encoding` is one that this service does not unpack; send gzip, or none")
        while True:
            while self._pieces:
                piece = next(self._pieces[0], None)
                if piece is None:
                    self._pieces.popleft()
                    continue
                self._unpacked += len(piece)
                if self._unpacked > self._max_bytes:
                    raise BodyTooLarge(
                        f"the body holds more than {self._max_bytes} bytes unpacked; send fewer items a request"
                    )
                await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": True}
            if self._ended:
                self._encoding = b"identity"
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._ended = not message.get("more_body", False)
            self._pieces.append(self._unpack(message.get("body", b"")))

    def _unpack(self, packed: bytes) -> Iterator[bytes]:
        """The pieces of one message. A body may have several members, one after the other."""
        try:
            while packed:
                if self._member.eof:
                    self._member = zlib.decompressobj(_PACKED)
                yield self._member.decompress(packed, PIECE_BYTES)
                packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        except zlib.error:
            raise InvalidRequest("the body is not gzip, as its `Content-Encoding` says") from None
        if self._ended and not self._member.eof:
            if rest := self._member.flush(PIECE_BYTES):
                yield rest
            if not self._member.eof:
                raise InvalidRequest("the body is gzip that was cut off")

"""Unpacks request bodies with `Content-Encoding: gzip` or `zstd`, piece by piece, before any route reads them.

Guarantees: what is unpacked is bounded as what comes plain is: a body that would be longer is refused when it gets
there, and so is one of more than 1,024 parts. The event loop goes on between pieces of at most 256 KiB. A route sees
the length of no packed body, so that a team is charged for what was unpacked.
"""

import asyncio
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, InvalidRequest

PIECE_BYTES = 262_144
_MOST_PARTS = 1024
"""A gzip member of 20 bytes and a zstd frame of 9 hold nothing, and cost what it takes to begin one."""
_GZIP = 31
"""zlib's number for gzip's format."""
_LARGEST_WINDOW = 23
"""zstd may need 2 to this power bytes of memory: what RFC 9659 lets a body ask for."""


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
        self._plain = encoding == b"identity"
        self._unpacker = None if self._plain else _unpacker(encoding)
        self._max_bytes = max_bytes
        self._pieces: deque[Iterator[bytes]] = deque()
        self._unpacked = 0
        self._ended = False

    async def __call__(self) -> Message:
        """Raises InvalidRequest for what is not in the format, and BodyTooLarge."""
        if self._plain:
            return await self._receive()
        if self._unpacker is None:
            raise InvalidRequest(
                "`Content-Encoding` is one that this service does not unpack; send gzip or zstd, or none"
            )
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
                self._plain = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._ended = not message.get("more_body", False)
            self._pieces.append(self._unpacker.unpack(message.get("body", b""), last=self._ended))


class _Unpacker:
    """Unpacks the messages of one body, which may have several parts, one after the other. `begin` makes what unpacks
    one part; `wrong` is what that raises for bytes in another format."""

    def __init__(self, name: str, begin: Callable[[], Any], wrong: type[Exception]) -> None:
        self._name, self._begin, self._wrong = name, begin, wrong
        self._part = begin()
        self._parts = 1

    def unpack(self, packed: bytes, *, last: bool) -> Iterator[bytes]:
        """The pieces of one message. Raises InvalidRequest."""
        try:
            while packed:
                if self._part.eof:
                    self._next_part()
                yield from self._of_part(packed)
                packed = self._part.unused_data if self._part.eof else b""
        except self._wrong:
            raise InvalidRequest(f"the body is not {self._name}, as its `Content-Encoding` says") from None
        if last and not self._part.eof:
            raise InvalidRequest(f"the body is {self._name} that was cut off")

    def _next_part(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InvalidRequest(f"the body has more than {_MOST_PARTS} parts of {self._name}; send it as one")
        self._part = self._begin()

    def _of_part(self, packed: bytes) -> Iterator[bytes]:
        """What a part gives for these bytes: as much as it has, or until it ends. Behind a full piece there may be
        more; zlib gives back what it has not read by then, and zstd keeps it."""
        yield (piece := self._part.decompress(packed, PIECE_BYTES))
        while len(piece) == PIECE_BYTES and not self._part.eof:
            yield (piece := self._part.decompress(getattr(self._part, "unconsumed_tail", b""), PIECE_BYTES))


def _zstd() -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW})


def _unpacker(encoding: bytes) -> _Unpacker | None:
    """What unpacks a body with this `Content-Encoding`; None where nothing does."""
    if encoding in (b"gzip", b"x-gzip"):
        return _Unpacker("gzip", lambda: zlib.decompressobj(_GZIP), zlib.error)
    if encoding == b"zstd":
        return _Unpacker("zstd", _zstd, zstd.ZstdError)
    return None

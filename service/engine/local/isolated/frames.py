"""Frames carry messages over a stream socket: JSON and 32-bit integers, each with its length before it.

Guarantees: what is read is data. No frame can name code or a type to build, as a pickle could.
"""

import array
import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LENGTHS = struct.Struct("<II")
# Far above any batch: a length beyond it is no frame.
_LONGEST = 1 << 30


@dataclass(frozen=True, slots=True)
class Frame:
    """`head` is the message; `ids` are token ids that are too many for JSON."""

    head: Mapping[str, Any]
    ids: "array.array[int]"


def no_ids() -> "array.array[int]":
    return array.array("i")


def encode(frame: Frame) -> bytes:
    head = json.dumps(frame.head, separators=(",", ":")).encode()
    ids = frame.ids.tobytes()
    return _LENGTHS.pack(len(head), len(ids)) + head + ids


async def read(reader: asyncio.StreamReader) -> Frame:
    """Returns the next frame. Raises EOFError or ConnectionError where the other side is gone, ValueError for bytes
    that are no frame."""
    head_bytes, ids_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if head_bytes + ids_bytes > _LONGEST:
        raise ValueError("bytes that are no frame")
    head = json.loads(await reader.readexactly(head_bytes))
    ids = no_ids()
    ids.frombytes(await reader.readexactly(ids_bytes))
    return Frame(head, ids)

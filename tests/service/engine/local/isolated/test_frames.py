"""Frames come out as they went in, and what is no frame is refused."""

import array
import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.local.isolated.frames import Frame, encode, no_ids, read

heads = st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False) | st.integers() | st.text() | st.booleans())
ids = st.lists(st.integers(-(2**31), 2**31 - 1)).map(lambda values: array.array("i", values))


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@given(st.lists(st.builds(Frame, heads, ids), max_size=5))
def test_frames_come_out_as_they_went_in(sent: list[Frame]) -> None:
    async def read_all() -> list[Frame]:
        reader = reader_of(b"".join(map(encode, sent)))
        return [await read(reader) for _ in sent]

    assert asyncio.run(read_all()) == sent


async def test_the_end_of_the_stream_is_no_frame() -> None:
    whole = encode(Frame({"kind": "call"}, array.array("i", [1, 2, 3])))
    for cut in range(len(whole)):
        with pytest.raises(EOFError):
            await read(reader_of(whole[:cut]))


async def test_a_length_that_no_batch_has_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="no frame"):
        await read(reader_of(b"\xff" * 64))


def test_a_frame_of_no_ids_has_none() -> None:
    assert list(no_ids()) == []

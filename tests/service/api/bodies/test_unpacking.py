"""Packed bodies are read as plain ones, bounded by what they unpack to."""

import gzip
import json
import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from service.api.bodies.unpacking import PIECE_BYTES, Unpacking
from service.clock import ManualClock
from service.errors import BodyTooLarge, InvalidRequest
from testkit.apps import fake_settings, item, serving
from testkit.teams_file import auth, team, write

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP = {"content-encoding": "gzip"}
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
packings = pytest.mark.parametrize("packing", PACK)


async def unpacked(messages: list[bytes], most: int = 10**9, encoding: bytes = b"gzip") -> tuple[bytes, int]:
    """The body, and the length of its longest piece."""
    left = [{"type": "http.request", "body": one, "more_body": True} for one in messages]
    left[-1]["more_body"] = False

    async def receive() -> dict[str, object]:
        return left.pop(0)

    unpacking, body, longest = Unpacking(receive, encoding, most), b"", 0
    while True:
        message = await unpacking()
        body, longest = body + message["body"], max(longest, len(message["body"]))
        if not message["more_body"]:
            return body, longest


@packings
async def test_packed_and_plain_are_judged_alike(packing: str) -> None:
    pack, headers = PACK[packing], {"content-encoding": packing}
    body = json.dumps({"items": [item()] * 4}).encode()
    async with serving() as client:
        plain = (await client.post("/v1/score", content=body)).json()
        packed = await client.post("/v1/score", content=pack(body), headers=headers)
        lint = json.dumps({"rubric": [{"text": "Is kind.", "points": 1}]}).encode()
        linted = await client.post("/v1/rubrics/lint", content=pack(lint), headers=headers)
    assert packed.status_code == linted.status_code == 200
    assert [one["score"] for one in packed.json()["results"]] == [one["score"] for one in plain["results"]]


@packings
async def test_however_a_body_is_cut_it_is_whole(packing: str) -> None:
    """200 bodies of one to three parts in random pieces: 200 whole."""
    rng = random.Random(7)
    for _ in range(200):
        parts = [rng.randbytes(rng.randrange(3000)) * rng.randrange(1, 200) for _ in range(rng.randrange(1, 4))]
        packed = b"".join(map(PACK[packing], parts))
        cuts = sorted(rng.sample(range(len(packed) + 1), rng.randrange(4)))
        messages = [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
        body, longest = await unpacked(messages, encoding=packing.encode())
        assert body == b"".join(parts) and longest <= PIECE_BYTES


@packings
@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_a_body_that_ends_where_a_piece_does_is_whole(packing: str, size: int) -> None:
    for body in (b"a" * size, random.Random(1).randbytes(size)):
        assert (await unpacked([PACK[packing](body)], encoding=packing.encode()))[0] == body


@packings
async def test_what_unpacks_to_more_than_the_limit_is_refused_when_it_gets_there(packing: str) -> None:
    bomb = PACK[packing](b"\x00" * 50_000_000)
    with pytest.raises(BodyTooLarge):
        await unpacked([bomb], most=10_000_000, encoding=packing.encode())
    async with serving(settings=fake_settings(max_body_bytes=100_000)) as client:
        answer = await client.post("/v1/score", content=bomb[:90_000], headers={"content-encoding": packing})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (413, "body_too_large")


@packings
async def test_a_body_of_many_empty_parts_is_refused_by_their_number(packing: str) -> None:
    empty = PACK[packing](b"")
    assert (await unpacked([empty * 1024], encoding=packing.encode()))[0] == b""
    with pytest.raises(InvalidRequest, match=f"more than 1024 parts of {packing}; send it as one"):
        await unpacked([empty * 1025], encoding=packing.encode())


async def test_a_body_may_not_choose_how_much_memory_unpacking_takes() -> None:
    large: dict[int, int] = {zstd.CompressionParameter.window_log: 24}
    frame = zstd.ZstdCompressor(options=large)
    packed = frame.compress(b"a" * 2**24) + frame.flush()
    with pytest.raises(InvalidRequest, match="not zstd"):
        await unpacked([packed], encoding=b"zstd")


WRONG = {
    "gzip": [
        b"{}",
        b"",
        zlib.compress(b"{}"),
        gzip.compress(b"{}", mtime=0)[:-3],
        gzip.compress(b"{}", mtime=0) + b"x",
    ],
    "zstd": [b"{}", b"", gzip.compress(b"{}", mtime=0), zstd.compress(b"{}")[:-1], zstd.compress(b"{}") + b"x"],
}


@pytest.mark.parametrize(("packing", "wrong"), [(packing, wrong) for packing, all in WRONG.items() for wrong in all])
async def test_what_is_not_whole_in_its_packing_is_refused(packing: str, wrong: bytes) -> None:
    with pytest.raises(InvalidRequest, match=packing):
        await unpacked([wrong], encoding=packing.encode())
    async with serving() as client:
        answer = await client.post("/v1/score", content=wrong, headers={"content-encoding": packing})
    assert answer.status_code == 422


async def test_another_packing_is_named() -> None:
    body = json.dumps({"items": [item()]}).encode()
    async with serving() as client:
        for encoding in ("br", "gzip, gzip", "zstd, gzip", "deflate"):
            answer = await client.post("/v1/score", content=body, headers={"content-encoding": encoding})
            assert answer.status_code == 422 and "send gzip or zstd, or none" in answer.json()["detail"]
        assert (await client.post("/v1/score", content=body, headers={"content-encoding": "identity"})).is_success


async def test_a_team_is_charged_for_what_was_unpacked(tmp_path: Path) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a", quota={"requests_per_minute": 5})))
    body = json.dumps({"items": [item(response=" " * 3_500_000)], "mode": "none"}).encode()
    packed, headers = gzip.compress(body), {**GZIP, **auth("a")}
    async with serving(settings=settings, clock=ManualClock()) as client:
        statuses = [(await client.post("/v1/score", content=packed, headers=headers)).status_code for _ in range(2)]
    assert statuses == [422, 429], "four requests each: one for each started MiB"

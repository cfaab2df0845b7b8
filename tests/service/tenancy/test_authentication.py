"""Keys on arrival, and a file that changes under it."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.clock import ManualClock
from service.errors import ConfigurationError, Unauthorized
from service.tenancy.authentication import NoAuthentication, TeamsFileAuthentication
from service.tenancy.team import DEFAULT_TEAM
from testkit.teams_file import key, team, write


class Watched:
    def __init__(self, file: Path) -> None:
        self.clock = ManualClock()
        self.heard: list[bool] = []
        self.door = TeamsFileAuthentication.open(file, self.clock, self.heard.append)

    async def looks(self, times: int) -> None:
        """Each look in its own second. Nothing new must come of it, so there is nothing to wait for."""
        for _ in range(times):
            await self.clock.advance(1.0)

    async def looked(self, heard: int) -> None:
        """A second later, until so many new contents were heard of."""
        await self.clock.advance(1.0)
        async with asyncio.timeout(30):
            while len(self.heard) < heard:
                await asyncio.sleep(0.001)

    def knows(self, name: str) -> bool:
        try:
            self.door.team_of(f"Bearer {key(name)}")
        except Unauthorized:
            return False
        return True


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[Watched]:
    one = Watched(file)
    watching = asyncio.create_task(one.door.watch())
    try:
        yield one
    finally:
        watching.cancel()
        await asyncio.wait({watching})


def test_each_key_is_its_teams(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a", keys=(key("a"), key("a2"))), team("b"))
    door = TeamsFileAuthentication.open(file, ManualClock())
    names = [door.team_of(f"{scheme} {key(one)}").name for scheme in ("Bearer", "bearer") for one in ("a", "a2", "b")]
    assert names == ["a", "a", "b"] * 2
    assert [one.name for one in door.teams] == ["a", "b"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        key("a"),
        f"Basic {key('a')}",
        f"Bearer {key('x')}",
        f"Bearer {key('a')} ",
        "Bearer rbd_é",
    ],
)
def test_anything_else_is_nobody_and_is_not_repeated(tmp_path: Path, header: str | None) -> None:
    door = TeamsFileAuthentication.open(write(tmp_path / "t.json", team("a")), ManualClock())
    with pytest.raises(Unauthorized) as refused:
        door.team_of(header)
    assert key("a") not in str(refused.value)
    assert key("x") not in str(refused.value)


def test_every_key_is_compared_whichever_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{n}" for n in range(50)]
    door = TeamsFileAuthentication.open(write(tmp_path / "t.json", *(team(name) for name in names)), ManualClock())
    compared = 0
    compare = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        nonlocal compared
        compared += 1
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for name in names:
        assert door.team_of(f"Bearer {key(name)}").name == name
    assert compared == 50 * 50


async def test_a_revoked_key_is_refused_once_the_next_look_has_read_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a", keys=(key("old"), key("new"))))
    async with watched(file) as one:
        assert one.knows("old")
        write(file, team("a", keys=(key("new"),)))
        await one.looked(1)
        assert (one.knows("old"), one.knows("new"), one.heard) == (False, True, [True])
        await one.clock.advance(10.0)
        assert one.heard == [True]


async def test_a_broken_or_missing_file_changes_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t.json", team("a"))
    async with watched(file) as one:
        file.write_text("{")
        await one.looked(1)
        await one.looks(5)
        assert (one.knows("a"), one.heard, len(caplog.records)) == (True, [False], 1)
        file.unlink()
        await one.looked(2)
        await one.looks(5)
        assert (one.knows("a"), one.heard, len(caplog.records)) == (True, [False, False], 2)
        write(file, team("b"))
        await one.looked(3)
        assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [False, False, True])


async def test_a_file_that_cannot_be_read_changes_nothing_until_it_can(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a"))
    async with watched(file) as one:
        file.unlink()
        file.mkdir()
        await one.looked(1)
        file.rmdir()
        file.symlink_to(file)
        await one.looks(3)
        assert (one.knows("a"), one.heard) == (True, [False])
        file.unlink()
        write(file, team("b"))
        await one.looked(2)
        assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [False, True])


async def test_a_file_that_comes_back_as_it_was_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a"))
    before = file.read_bytes()
    async with watched(file) as one:
        write(file, team("b"))
        await one.looked(1)
        file.write_bytes(before)
        await one.looked(2)
        assert (one.knows("a"), one.knows("b"), one.heard) == (True, False, [True, True])


@pytest.mark.parametrize("by", ["rename", "symlink"])
async def test_a_file_that_is_replaced_whole(tmp_path: Path, by: str) -> None:
    """As `keys` does it, and as a mounted ConfigMap does it."""
    old, new = write(tmp_path / "1.json", team("a")), write(tmp_path / "2.json", team("b"))
    file = tmp_path / "teams.json"
    file.symlink_to(old)
    async with watched(file) as one:
        if by == "symlink":
            new = tmp_path / "link"
            new.symlink_to(tmp_path / "2.json")
        new.replace(file)
        await one.looked(1)
        assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [True])


async def test_the_largest_file_does_not_stop_the_loop(tmp_path: Path) -> None:
    """Its YAML takes a second or two, of which the loop may be kept from its work for a small part."""
    file = tmp_path / "teams.yaml"
    file.write_text("teams:\n  - {name: a}\n")
    large = "".join(f"  - {{name: t{n}, keys: [{{sha256: '{n:064x}', created: 2026-11-21}}]}}\n" for n in range(4000))
    async with watched(file) as one:
        file.write_text("teams:\n" + large)
        began_s, late_s = time.monotonic(), [0.0]
        looking = asyncio.create_task(one.looked(1))
        while not looking.done():
            turn_s = time.monotonic()
            await asyncio.sleep(0.001)
            late_s.append(time.monotonic() - turn_s)
        assert (one.heard, len(one.door.teams)) == ([True], 4000)
        assert max(late_s) < (time.monotonic() - began_s) / 2


def test_a_door_does_not_open_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        TeamsFileAuthentication.open(tmp_path / "none.yaml", ManualClock())


def test_without_a_file_anyone_may_ask() -> None:
    assert NoAuthentication().team_of(None) == NoAuthentication().team_of("Bearer x") == DEFAULT_TEAM
    assert NoAuthentication().teams == (DEFAULT_TEAM,)

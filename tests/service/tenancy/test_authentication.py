"""Keys on arrival, and a file that changes under it."""

import asyncio
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from service.clock import ManualClock
from service.errors import ConfigurationError, Unauthorized
from service.tenancy.authentication import NoAuthentication, TeamsFileAuthentication
from service.tenancy.team import DEFAULT_TEAM
from testkit.descriptors import every_descriptor_used
from testkit.teams_file import key, team, write
from testkit.waiting import HUNG_S


class Watched:
    def __init__(self, file: Path) -> None:
        self.clock = ManualClock()
        self.heard: list[bool] = []
        self.door = TeamsFileAuthentication(file, self.clock, self.heard.append)

    async def looks(self, times: int = 1) -> None:
        """Each look in its own second, as `watch` does it."""
        for _ in range(times):
            await self.clock.advance(1.0)
            await self.door.look()

    def knows(self, name: str) -> bool:
        try:
            self.door.team_of(f"Bearer {key(name)}")
        except Unauthorized:
            return False
        return True


def test_each_key_is_its_teams(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a", keys=(key("a"), key("a2"))), team("b"))
    door = TeamsFileAuthentication(file, ManualClock())
    names = [door.team_of(f"{scheme} {key(one)}").name for scheme in ("Bearer", "bearer") for one in ("a", "a2", "b")]
    assert names == ["a", "a", "b"] * 2
    for header in (f"Bearer {key('b')} ", f"BEARER  \t {key('b')}\t", f" bearer {key('b')}"):
        assert door.team_of(header).name == "b"
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
        f"Bearer {key('a')} x",
        f"Bearer{key('a')}",
        f"Bearer \n{key('a')}",
        "Bearer rbd_é",
    ],
)
def test_anything_else_is_nobody_and_is_not_repeated(tmp_path: Path, header: str | None) -> None:
    door = TeamsFileAuthentication(write(tmp_path / "t.json", team("a")), ManualClock())
    with pytest.raises(Unauthorized) as refused:
        door.team_of(header)
    assert key("a") not in str(refused.value)
    assert key("x") not in str(refused.value)


def test_every_key_is_compared_whichever_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{n}" for n in range(50)]
    door = TeamsFileAuthentication(write(tmp_path / "t.json", *(team(name) for name in names)), ManualClock())
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
    one = Watched(file)
    assert one.knows("old")
    write(file, team("a", keys=(key("new"),)))
    await one.looks()
    assert (one.knows("old"), one.knows("new"), one.heard) == (False, True, [True])
    await one.looks(10)
    assert one.heard == [True]


async def test_a_broken_or_missing_file_changes_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t.json", team("a"))
    one = Watched(file)
    file.write_text("{")
    await one.looks()
    await one.looks(5)
    assert (one.knows("a"), one.heard, len(caplog.records)) == (True, [False], 1)
    file.unlink()
    await one.looks()
    await one.looks(5)
    assert (one.knows("a"), one.heard, len(caplog.records)) == (True, [False, False], 2)
    write(file, team("b"))
    await one.looks()
    assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [False, False, True])


async def test_a_file_that_cannot_be_read_changes_nothing_until_it_can(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a"))
    one = Watched(file)
    file.unlink()
    file.mkdir()
    await one.looks()
    file.rmdir()
    file.symlink_to(file)
    await one.looks(3)
    assert (one.knows("a"), one.heard) == (True, [False, False])
    file.unlink()
    write(file, team("b"))
    await one.looks()
    assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [False, False, True])


async def test_a_failure_is_said_each_minute_with_the_time_since_when(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t.json", team("a"))
    one = Watched(file)
    await one.looks(3)
    before = file.read_bytes()
    file.write_text("{")
    await one.looks(130)
    assert (one.heard, one.door.file_ok, one.door.read_at_s) == ([False] * 3, False, 3.0)
    assert [record.getMessage().count("as they were at 1970-01-01T00:00:03+00:00") for record in caplog.records] == [
        1
    ] * 3
    file.write_bytes(before)
    await one.looks()
    assert (one.heard, one.door.file_ok, one.door.read_at_s) == ([False] * 3 + [True], True, 134.0)


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a folder", "a socket"])
async def test_what_is_no_regular_file_is_named_at_once(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "t.json", team("a"))
    one = Watched(file)
    file.unlink()
    listener = socket.socket(socket.AF_UNIX)
    makers: dict[str, Callable[[], object]] = {
        "a FIFO": lambda: os.mkfifo(file),
        "a device": lambda: file.symlink_to("/dev/zero"),
        "a folder": file.mkdir,
        "a socket": lambda: listener.bind(os.path.relpath(file)),
    }
    with listener:
        makers[kind]()
        async with asyncio.timeout(HUNG_S):
            await one.looks()
        assert (one.knows("a"), one.heard) == (True, [False])
        says = "No such device or address" if kind == "a socket" else f"it is {kind}"  # Linux opens no socket
        assert says in caplog.text
        with pytest.raises(ConfigurationError, match=says):
            TeamsFileAuthentication(file, one.clock)


async def test_a_file_system_that_does_not_answer_costs_one_thread_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount whose server is gone: `open` returns when it likes."""
    file, answers = write(tmp_path / "t.json", team("a")), threading.Event()
    one = Watched(file)
    real = os.open

    def stalled(*args: Any, **named: Any) -> int:
        answers.wait()
        return real(*args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", stalled)
        threads = threading.active_count()
        watching = asyncio.create_task(one.door.watch())
        for _ in range(50):
            await one.clock.advance(1.0)
        assert (one.heard, one.door.file_ok, threading.active_count()) == ([False], False, threads + 1)
        assert not answers.is_set(), "nothing here waited for it"
    write(file, team("b"))
    answers.set()
    async with asyncio.timeout(HUNG_S):
        while not one.knows("b"):
            await one.clock.advance(0.1)
            await asyncio.sleep(0.001)
    assert (one.knows("a"), one.heard, one.door.file_ok) == (False, [False, True], True)
    watching.cancel()
    await asyncio.wait({watching})


async def test_a_key_is_revoked_with_every_descriptor_in_use(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a", keys=(key("old"), key("new"))))
    one = Watched(file)
    await one.looks()
    write(file, team("a", keys=(key("new"),)))
    with every_descriptor_used():
        await one.looks(3)
        assert (one.knows("old"), one.knows("new"), one.heard) == (False, True, [True])


async def test_any_failure_leaves_the_watch_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t.json", team("a"))
    one = Watched(file)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        await one.looks(2)
        assert (one.knows("a"), one.heard) == (True, [False])
    await one.looks()
    assert one.heard == [False, True]


async def test_a_file_that_others_may_write_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "t.json", team("a"))
    file.chmod(0o666)
    one = Watched(file)
    write(file, team("b"))
    await one.looks(3)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"any user may write the file {file}, and so can give itself a key; take that right away with chmod"
    ]


async def test_a_file_that_comes_back_as_it_was_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", team("a"))
    before = file.read_bytes()
    one = Watched(file)
    write(file, team("b"))
    await one.looks()
    file.write_bytes(before)
    await one.looks()
    assert (one.knows("a"), one.knows("b"), one.heard) == (True, False, [True, True])


@pytest.mark.parametrize("by", ["rename", "symlink"])
async def test_a_file_that_is_replaced_whole(tmp_path: Path, by: str) -> None:
    """As `keys` does it, and as a mounted ConfigMap does it."""
    old, new = write(tmp_path / "1.json", team("a")), write(tmp_path / "2.json", team("b"))
    file = tmp_path / "teams.json"
    file.symlink_to(old)
    one = Watched(file)
    if by == "symlink":
        new = tmp_path / "link"
        new.symlink_to(tmp_path / "2.json")
    new.replace(file)
    await one.looks()
    assert (one.knows("a"), one.knows("b"), one.heard) == (False, True, [True])


async def test_the_largest_file_does_not_stop_the_loop(tmp_path: Path) -> None:
    """Its YAML takes a second or two, of which the loop may be kept from its work for a small part."""
    file = tmp_path / "teams.yaml"
    file.write_text("teams:\n  - {name: a}\n")
    large = "".join(f"  - {{name: t{n}, keys: [{{sha256: '{n:064x}', created: 2026-11-21}}]}}\n" for n in range(4000))
    one = Watched(file)
    file.write_text("teams:\n" + large)
    began_s, late_s = time.monotonic(), [0.0]
    looking = asyncio.create_task(one.looks())
    while not looking.done():
        turn_s = time.monotonic()
        await asyncio.sleep(0.001)
        late_s.append(time.monotonic() - turn_s)
    assert (one.heard, len(one.door.teams)) == ([True], 4000)
    assert max(late_s) < (time.monotonic() - began_s) / 2


def test_a_door_does_not_open_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        TeamsFileAuthentication(tmp_path / "none.yaml", ManualClock())


def test_without_a_file_anyone_may_ask() -> None:
    assert NoAuthentication().team_of(None) == NoAuthentication().team_of("Bearer x") == DEFAULT_TEAM
    assert NoAuthentication().teams == (DEFAULT_TEAM,)

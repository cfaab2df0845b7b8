"""Every store of rubrics does the same: in memory, as files, in Redis."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.clock import ManualClock
from service.errors import ConfigurationError, Forbidden, Unavailable
from service.redis_client import RedisClient
from service.rubric_store.files import FileRubricStore
from service.rubric_store.memory import MemoryRubricStore
from service.rubric_store.redis import RedisRubricStore
from service.rubric_store.store import Room, RubricStore, version_of
from testkit.redis import RedisServer
from testkit.waiting import HUNG_S

ROOM = Room(versions=3, bytes=1_000)


@pytest.fixture(params=["memory", "files", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RubricStore]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryRubricStore(clock, ROOM)
        elif request.param == "files":
            yield FileRubricStore(tmp_path / "rubrics", ROOM)
        else:
            client = RedisClient(request.getfixturevalue("redis_url"), timeout_s=HUNG_S, clock=clock)
            stack.push_async_callback(client.aclose)
            yield RedisRubricStore(client, clock, ROOM)


def below(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def test_a_content_comes_back_under_its_version_and_twice_is_once(store: RubricStore) -> None:
    first, created = await store.put("a", "knee", b"one")
    again, created_again = await store.put("a", "knee", b"one")
    assert (created, created_again) == (True, False)
    assert (first.name, first.version, first.bytes) == (again.name, again.version, 3) == ("knee", version_of(b"one"), 3)
    assert first.stored_at == again.stored_at
    assert await store.get("a", "knee", first.version) == b"one"
    assert [(one.name, one.version) for one in await store.entries("a")] == [("knee", first.version)]


async def test_another_team_and_another_name_see_nothing(store: RubricStore) -> None:
    entry, _ = await store.put("a", "knee", b"one")
    assert await store.get("b", "knee", entry.version) is None
    assert await store.get("a", "hip", entry.version) is None
    assert await store.entries("b") == []
    assert not await store.remove("b", "knee", entry.version)
    assert await store.get("a", "knee", entry.version) == b"one"


async def test_what_is_removed_is_gone_and_makes_room(store: RubricStore) -> None:
    entries = [(await store.put("a", f"r{n}", b"one"))[0] for n in range(3)]
    with pytest.raises(Forbidden, match="3 versions with 1000 bytes"):
        await store.put("a", "r3", b"one")
    assert not (await store.put("a", "r1", b"one"))[1]  # it is there already
    await store.put("b", "r3", b"one")  # another team has room of its own
    assert await store.remove("a", "r0", entries[0].version)
    assert not await store.remove("a", "r0", entries[0].version)
    assert await store.get("a", "r0", entries[0].version) is None
    assert (await store.put("a", "r3", b"one"))[1]


async def test_bytes_are_limited_to_the_last_one(store: RubricStore) -> None:
    await store.put("a", "big", b"x" * 600)
    with pytest.raises(Forbidden):
        await store.put("a", "more", b"y" * 401)
    await store.put("a", "more", b"y" * 400)


async def test_500_random_operations_agree_with_a_dictionary(store: RubricStore) -> None:
    rng, model, wrong = random.Random(7), dict[tuple[str, str, str], bytes](), 0
    for _ in range(500):
        team, name, content = rng.choice("ab"), rng.choice(["x", "y.z", "w-1"]), rng.choice([b"1", b"22", b"333"])
        key = team, name, version_of(content)
        match rng.randrange(3):
            case 0:
                full = key not in model and sum(one[0] == team for one in model) >= ROOM.versions
                try:
                    _, created = await store.put(team, name, content)
                    wrong += full or created != (key not in model)
                    model[key] = content
                except Forbidden:
                    wrong += not full
            case 1:
                wrong += await store.remove(*key) != (model.pop(key, None) is not None)
            case _:
                wrong += await store.get(*key) != model.get(key)
                wrong += {(team, one.name, one.version) for one in await store.entries(team)} != {
                    one for one in model if one[0] == team
                }
    assert wrong == 0


async def test_no_name_of_a_team_leads_out_of_the_folder(tmp_path: Path) -> None:
    store = FileRubricStore(tmp_path / "rubrics", ROOM)
    for team in ("..", "../..", "a/b", ".", "team-a", "ü"):
        await store.put(team, "knee", b"one")
        assert len(await store.entries(team)) == 1
    assert [one.name for one in below(tmp_path, "*")] == ["rubrics"]
    assert len(below(tmp_path / "rubrics", "*")) == 6


async def test_a_damaged_file_is_absent_until_it_is_stored_again(tmp_path: Path) -> None:
    store = FileRubricStore(tmp_path, ROOM)
    entry, _ = await store.put("a", "knee", b"one")
    (file,) = below(tmp_path, "**/*.json")
    file.write_bytes(b"two")
    assert await store.get("a", "knee", entry.version) is None
    assert (await store.put("a", "knee", b"one"))[1]
    assert await store.get("a", "knee", entry.version) == file.read_bytes() == b"one"


async def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileRubricStore(tmp_path, ROOM)

    def full(file: Path, content: bytes) -> int:
        file.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            await store.put("a", "knee", b"{}")
    assert list((tmp_path / "team-a").iterdir()) == []
    assert (await store.put("a", "knee", b"{}"))[1]


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="`rubrics` is"):
        FileRubricStore(tmp_path / "file" / "rubrics", ROOM)


async def test_a_damaged_value_in_redis_is_absent_until_it_is_stored_again(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=HUNG_S, clock=ManualClock())
    store = RedisRubricStore(client, ManualClock(), ROOM)
    entry, _ = await store.put("a", "knee", b"one")
    (key,) = [key for key in (await client.pipeline([("KEYS", "rubricd:r:*:contents")]))[0]]
    await client.pipeline([("HSET", key, f"knee@{entry.version}", b"two")])
    assert await store.get("a", "knee", entry.version) is None
    await store.put("a", "knee", b"one")
    assert await store.get("a", "knee", entry.version) == b"one"
    await client.pipeline([("HDEL", key, f"knee@{entry.version}")])  # as an eviction does
    assert await store.get("a", "knee", entry.version) is None
    await store.put("a", "knee", b"one")
    assert await store.get("a", "knee", entry.version) == b"one"
    await client.aclose()


async def test_without_redis_nothing_is_stored_and_nothing_is_found() -> None:
    with RedisServer() as server:
        client = RedisClient(server.url, timeout_s=0.5, clock=ManualClock())
        store = RedisRubricStore(client, ManualClock(), ROOM)
        entry, _ = await store.put("a", "knee", b"one")
        server.kill()
        for _ in range(2):  # the second call finds the breaker open
            with pytest.raises(Unavailable, match="Redis"):
                await store.get("a", "knee", entry.version)
            with pytest.raises(Unavailable):
                await store.put("a", "knee", b"two")
            with pytest.raises(Unavailable):
                await store.entries("a")
        await client.aclose()

"""A judge that should not be believed is marked where it is built."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from service.engine import build as module
from service.engine.base import EngineIdentity, Prompt
from service.engine.build import MINIATURE, build
from service.engine.fake import FakeEngine
from service.engine.identity import checkpoint_facts
from service.settings import EngineSettings


@pytest.fixture(autouse=True)
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def _local(settings: EngineSettings, judge: str) -> Any:
        engine = FakeEngine()
        engine.identity = EngineIdentity(judge, "r", "local", checkpoint_facts(Path(judge)))
        return engine

    monkeypatch.setitem(module.ENGINES, "local", _local)


async def test_the_bundled_judge_is_a_toy_wherever_it_stands(tmp_path: Path) -> None:
    bundled = await build(EngineSettings())
    assert (bundled.engine.identity.model, bundled.engine.identity.toy) == ("miniature", True)
    learned = {"reasoned", "levels", "extract"}
    assert bundled.unserved == learned, "it has learned two labels, and would write them as its reasons"
    shutil.copytree(MINIATURE, tmp_path / "copy")
    for judge in (MINIATURE, tmp_path / "copy"):
        loaded = await build(EngineSettings(judge=str(judge)))
        assert (loaded.engine.identity.model, loaded.engine.identity.toy) == (str(judge), True)
        assert loaded.unserved == learned


async def test_other_weights_are_no_toy(tmp_path: Path) -> None:
    shutil.copytree(MINIATURE, tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    loaded = await build(EngineSettings(judge=str(tmp_path / "other")))
    assert (loaded.engine.identity.toy, loaded.unserved) == (False, frozenset())


async def test_the_engine_without_a_judge_is_a_toy_that_serves_every_mode() -> None:
    fake = await build(EngineSettings(engine="fake"))
    assert (fake.engine.identity.toy, fake.unserved) == (True, frozenset())


async def test_a_dry_run_keeps_nothing_of_what_it_was_asked() -> None:
    engine = (await build(EngineSettings(engine="fake"))).engine
    assert isinstance(engine, FakeEngine)
    asked = [Prompt((1, 2), (n,)) for n in range(3)]
    await engine.read_labels(asked, (3, 4))
    engine.cancel(asked[0])
    assert (engine.prompts, engine.seen_ids, engine.cancelled) == (3, [], [])

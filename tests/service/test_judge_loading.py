"""Tests of what a judge of `judges.yaml` is made of: its own settings, the service's, and keys of the environment."""

from pathlib import Path

import pytest

from service.app import create_app
from service.errors import ConfigurationError
from service.judge_preparing import own_settings, prepare
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.settings.deployment import EngineJudge
from testkit.apps import fake_settings, started


def test_a_judge_has_its_own_settings_and_else_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "s3cret")
    service = fake_settings(prompt="bare", label_mass_floor=0.3)
    entry = EngineJudge.model_validate({"engine": "remote", "prompt": "examples", "remote_key_env": "SOME_KEY"})
    own = own_settings(service, entry)
    assert (own.engine, own.prompt, own.label_mass_floor, own.remote_key) == ("remote", "examples", 0.3, "s3cret")
    assert own.exam is service.exam, "a default that the file does not name is no setting of the judge"
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ConfigurationError, match="`remote_key_env` names the environment variable SOME_KEY"):
        own_settings(service, entry)


def test_what_can_be_read_is_read_before_an_engine_starts(tmp_path: Path) -> None:
    for wrong, why in (
        ({"prompt": "qustion"}, "judge `a`: .*qustion"),
        ({"calibration": str(tmp_path / "none.json")}, "judge `a`: `calibration`"),
        ({"canaries": str(tmp_path / "none.jsonl")}, "judge `a`: `canaries`"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            prepare(fake_settings(), "a", EngineJudge.model_validate({"engine": "fake", **wrong}))


async def test_another_service_that_does_not_answer_ends_the_start_and_what_had_started(tmp_path: Path) -> None:
    file = tmp_path / "judges.yaml"
    file.write_text("judges:\n  a: {engine: fake}\n  b: {engine: rubricd, url: 'http://127.0.0.1:9'}\n")
    failures: list[BaseException] = []
    app = create_app(fake_settings(judges=file), lifecycle=Lifecycle[Judges](on_failed=failures.append))
    async with started(app):
        pass
    assert "judge `b`: http://127.0.0.1:9 does not answer" in str(failures[0])

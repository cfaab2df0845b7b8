"""Tests of a judge's name on its way from the client's options to the service."""

from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from testkit.apps import fake_settings, item, started
from trainer_client import JudgeClient, Scored
from trainer_client.errors import InvalidRequest
from trainer_client.labels.judging import judge_asked


def settings(folder: Path) -> Settings:
    file = folder / "judges.yaml"
    file.write_text("judges:\n  both: {panel: [a, b]}\n  a: {engine: fake}\n  b: {engine: fake, prompt: bare}\n")
    return fake_settings(judges=file)


async def test_a_named_judge_answers_under_its_name_and_is_described(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path))
    async with started(app), JudgeClient("http://localhost", transport=httpx.ASGITransport(app=app)) as client:
        infos = {name: await client.judge(name) for name in (None, "both", "a", "b")}
        found = {name: (await client.score([item()], judge=name))[0] for name in infos}
        with pytest.raises(InvalidRequest, match="did you mean `both`"):
            await client.judge("bth")
    assert infos[None].fingerprint == infos["both"].fingerprint
    for name, outcome in found.items():
        assert isinstance(outcome, Scored)
        assert outcome.judge.fingerprint == infos[name].fingerprint == judge_asked(infos[name], {}).fingerprint
        assert outcome.judge.name == (name or "both")
    members = found["both"]
    assert isinstance(members, Scored) and members.result.criteria[0].members is not None
    assert [one.judge for one in members.result.criteria[0].members] == ["a", "b"]

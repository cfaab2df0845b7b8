"""A judge whose answers are scripted, in the place of every judge that the reward worker would call."""

import pytest

from testkit.scripted_judge import Service
from trainer_client.client import JudgeClient
from trainer_client.reward_client import JudgeConfig


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(
        JudgeConfig, "client", lambda self: JudgeClient(self.url, token=self.token, transport=service.transport)
    )
    return service

"""The tiny policy and a judge for it. TRL is imported by the tests that ask for them only: it takes ten seconds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trainer_client.reward_client import JudgeConfig


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.trainer_client.trl.tiny import save_policy

    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def judging() -> "Iterator[JudgeConfig]":
    from tests.trainer_client.trl.tiny import judged_by

    with judged_by() as (judging, _):
        yield judging

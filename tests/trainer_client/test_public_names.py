"""The package exports the names that a training job needs, and only those."""

import subprocess
import sys

import pytest

import trainer_client
from trainer_client import client, errors, wire


def test_the_public_names_are_those_of_their_modules() -> None:
    assert trainer_client.JudgeClient is client.JudgeClient
    assert trainer_client.Scored is client.Scored and trainer_client.Failed is client.Failed
    assert trainer_client.Outcome is client.Outcome and trainer_client.ScoreOptions is client.ScoreOptions
    assert trainer_client.reward is client.reward and trainer_client.RetryPolicy is client.RetryPolicy
    assert trainer_client.errors is errors and trainer_client.wire is wire
    assert set(trainer_client.__all__) <= set(dir(trainer_client))


def test_any_other_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Patience'"):
        getattr(trainer_client, "Patience")  # noqa: B009


def test_the_reward_function_for_trl_is_there_without_trl() -> None:
    code = "import sys, trainer_client; trainer_client.reward_function; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

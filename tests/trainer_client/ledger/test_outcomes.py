"""What a training's client was answered, as lines of a ledger."""

from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import FINGERPRINT, Service, items, problem, served
from trainer_client import wire
from trainer_client.errors import DataError, Unauthorized
from trainer_client.ledger import checking, entries
from trainer_client.reward_client import JudgeConfig, RewardClient


def listed(count: int) -> list[wire.Item]:
    return [wire.Item.model_validate(item) for item in items(count)]


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [line for file in checking.files_of([folder]) for line in checking.entries(file)]


async def test_each_criterion_of_each_response_has_a_line(tmp_path: Path) -> None:
    with served(Service()) as url:
        client = RewardClient(JudgeConfig(url, ledger=tmp_path / "ledger"))
        outcomes = await client.score(listed(3))
        await client.aclose()
    found = lines_in(tmp_path / "ledger")
    assert len(found) == 6
    said = [one for outcome in outcomes for one in outcome.result.criteria]  # type: ignore[union-attr]
    assert [(one["p"], one["met"], one["status"]) for one in found] == [(one.p, one.met, one.status) for one in said]
    assert {(one["judge"], one["mode"], one["attempts"]) for one in found} == {(FINGERPRINT, "verdict", 1)}
    assert [one["response"] for one in found[::2]] == [entries.digest(f"answer {n}") for n in range(3)]
    assert checking.check([tmp_path / "ledger"]).problems == []


async def test_a_response_that_failed_has_the_errors_code_and_no_verdict(tmp_path: Path) -> None:
    with served(Service(lambda body: problem("invalid_request", 422))) as url:
        client = RewardClient(JudgeConfig(url, ledger=tmp_path))
        await client.score(listed(1))
        await client.aclose()
    found = lines_in(tmp_path)
    assert [(one["status"], one["met"], one["p"], one["judge"]) for one in found] == [
        ("invalid_request", None, None, None)
    ] * 2


async def test_a_disk_that_fails_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with served(Service()) as url:
        client = RewardClient(JudgeConfig(url, ledger=tmp_path / "file" / "ledger"))
        for _ in range(2):
            assert len(await client.score(listed(2))) == 2
        await client.aclose()
    assert [record.getMessage().startswith("the ledger cannot be written") for record in caplog.records] == [True]


async def test_an_answer_that_ends_a_training_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    with served(Service(lambda body: problem("unauthorized", 401))) as url:
        client = RewardClient(JudgeConfig(url, ledger=tmp_path))
        with pytest.raises(Unauthorized):
            await client.score(listed(1))
        await client.aclose()
    with pytest.raises(DataError, match="no file of a ledger"):
        lines_in(tmp_path)

"""A teacher's verdicts become targets, and what it did not decide becomes none."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, chance, items, scores
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.distillation.teacher import teach, unlabelled
from trainer_client.errors import DataError


def _rows() -> list[wire.Item]:
    return [wire.Item.model_validate(one) for one in items(10)]


def _answer(body: dict[str, Any]) -> httpx.Response:
    whole = scores(body)
    for result in whole["results"]:
        result["criteria"][1].update(status="abstained", met=None, p=None, p_raw=None)
    whole["usage"] |= {"judgements": 2 * len(body["items"]), "prompt_tokens": 100, "cached_tokens": 20}
    return answered(whole)


async def test_verdicts_are_targets_and_abstentions_are_not(tmp_path: Path) -> None:
    service = Service(_answer)
    async with JudgeClient("http://judge", transport=service.transport) as client:
        labels = unlabelled(_rows())
        found = await teach(client, labels, {}, tmp_path / "teacher.jsonl", lambda more: None)
    assert found.targets == {(n, "0"): chance(f"answer {n}", "Is kind.") for n in range(10)}
    assert found.judge.fingerprint == "judge-1"
    assert found.cost.tokens == 80 / 16 and found.cost.seconds > 0
    assert service.bodies[-1]["cache"] == "bypass" and len(service.bodies[-1]["items"]) == 8


def test_rows_without_labels_have_a_row_for_each_response_and_no_label() -> None:
    group = wire.Item.model_validate({"id": "a", "prompt": "p", "responses": ["x", "y"], "rubric": _rows()[0].rubric})
    labels = unlabelled([group, *_rows()])
    assert [one.item.response for one in labels.items[:3]] == ["x", "y", "answer 0"]
    assert len({one.group for one in labels.items}) == 2
    assert labels.labelled == 0 and [dict(one.met) for one in labels.items[:1]] == [{"0": None, "1": None}]
    with pytest.raises(DataError, match="without a `rubric`"):
        unlabelled([wire.Item(prompt="p", response="r")])

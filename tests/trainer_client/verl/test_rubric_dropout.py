"""The reward where our agent loop left criteria out. verl's own way to it is in `contract/dropout.py`."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from testkit import scripted_judge
from testkit.scripted_judge import Service
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.data.rows import Row
from trainer_client.reward_client import JudgeConfig
from trainer_client.verl.reward import compute_score
from trainer_client.verl.rows import to_parquet

RUBRIC = wire.Rubric.model_validate(
    [
        {"text": "Is kind.", "points": 5, "tags": {"axis": "tone"}},
        {"text": "Lies.", "points": -3, "tags": {"axis": "truth"}},
        {"text": "Is short.", "points": 2, "tags": {"axis": "length"}},
    ]
)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    judge = Service()
    made = lambda self: JudgeClient(self.url, transport=judge.transport)  # noqa: E731
    monkeypatch.setattr(JudgeConfig, "client", made)
    return judge


async def _told(folder: Path, dropped: list[str], **more: Any) -> dict[str, float | None]:
    row = Row("row-1", ({"role": "user", "content": "Hello?"},), RUBRIC, None, "made-up")
    to_parquet([row], folder / "train.parquet", split="train")
    (written,) = parquet.read_table(folder / "train.parquet").to_pylist()
    info = {**written["extra_info"], "dropped": json.dumps(dropped)}
    return await compute_score("made-up", "An answer.", None, info, url="http://judge", **more)


async def test_the_score_is_by_what_is_left_and_the_full_one_beside_it(tmp_path: Path, service: Service) -> None:
    told = await _told(tmp_path, ["0"])
    (body,) = service.bodies
    part, whole = (item["rubric"]["criteria"] for item in body["items"])
    assert [one["id"] for one in part] == ["1", "2"] and len(whole) == 3
    assert told["score"] == scripted_judge.result("0", "An answer.", part)["score"]
    assert told["full_score"] == scripted_judge.result("0", "An answer.", whole)["score"]
    assert told["dropped_share"] == pytest.approx(1 / 3)


async def test_a_part_of_which_nothing_is_left_is_zero_for_its_whole_group(tmp_path: Path, service: Service) -> None:
    parts = {"rewards_by": "tag", "parts": ["axis:length", "axis:tone", "axis:truth"]}
    told = await _told(tmp_path, ["0"], **parts)
    assert told["reward/axis:tone"] == 0.0
    met = scripted_judge.chance("An answer.", "Is short.") >= 0.5
    assert told["reward/axis:length"] == float(met)


async def test_nothing_left_out_is_one_question(tmp_path: Path, service: Service) -> None:
    told = await _told(tmp_path, [])
    assert len(service.bodies[0]["items"]) == 1 and told["full_score"] == told["score"]

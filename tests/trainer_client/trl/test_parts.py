"""Each part of a score is its own verdicts' alone, and what was not judged has no opinion."""

import asyncio
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.trainer_client.trl.tiny import EVEN, Recorder, configured, judged_by
from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.reward_client import JudgeConfig
from trainer_client.reward_parts import names
from trainer_client.trl.parts import Beside, PartReward, SplitReward, functions
from trainer_client.trl.prompt_row import with_row
from trainer_client.trl.trainer import build

RUBRIC = [
    wire.Criterion(id="a", text="Says a.", points=3, tags={"axis": "item", "theme": "x"}),
    wire.Criterion(id="b", text="Says b.", points=1, tags={"axis": "item"}),
    wire.Criterion(id="c", text="Says c.", points=-2, tags={"axis": "harm"}),
    wire.Criterion(id="d", text="Says d.", points=5),
    wire.Criterion(id="e", text="Says e.", points=0, tags={"axis": "nothing"}),
]


def _row(name: str, rubric: list[wire.Criterion]) -> Row:
    return Row(name, ({"role": "user", "content": f"Hello, {name}?"},), wire.Rubric(criteria=rubric), None, "s")


def test_each_part_is_normalised_within_its_group(tmp_path: Path, policy: str) -> None:
    """The advantages are those of TRL's `normalize_then_sum` over the parts, worked out again from the table."""
    rows = [_row("1", RUBRIC[:2]), _row("2", RUBRIC[:1] + RUBRIC[2:4])]
    config = configured(tmp_path, log_completions=True)
    seen = Recorder()
    with judged_by() as (judging, _):
        trainer = build(policy, rows, judging=judging, config=config, scaffold=EVEN, by="tag")
        seen.watch(trainer).train()
    (file,) = (tmp_path / "completions").glob("*.parquet")
    table = pq.read_table(file).to_pydict()
    parts = names(rows, "tag")
    assert {"judge", *(f"judge/{name}" for name in parts)} <= table.keys()
    given = torch.tensor([[float("nan") if v is None else v for v in table[f"judge/{name}"]] for name in parts]).T
    assert torch.isnan(given).any(0).tolist() == [True, False, False, True], "row 1 has no harm, and no untagged"
    grouped = given.view(2, 4, len(parts))
    mean = torch.nanmean(grouped, 1, keepdim=True)
    std = ((grouped - mean) ** 2).sum(1, keepdim=True).div(3).sqrt()
    total = torch.nan_to_num((grouped - mean) / (std + 1e-4)).sum(2).flatten()
    wanted = (total - total.mean()) / (total.std() + 1e-4)
    assert table["advantage"] == [pytest.approx(float(one), abs=1e-3) for one in wanted]
    assert len({round(one, 3) for one in table["advantage"]}) > 2


def test_a_function_beside_the_judge_has_no_say_about_what_was_not_judged() -> None:
    """Its own None is no opinion, or zero where that is declared."""

    async def own(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [None if one == "c" else len(one) / 10 for one in completions]

    def plain(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [None if one == "c" else 7.0 for one in completions]

    row = _row("1", RUBRIC)
    with judged_by(lambda response: None if response == "bb" else 0.5) as (judging, _):
        beside = [Beside("own", own, 0.5), Beside("plain", plain, 2.0, "zero")]
        judge, given, settings = functions([row], judging, by="total", beside=beside, ends=[3])
        assert settings["reward_weights"] == [1.0, 0.5, 2.0]
        assert [one.__name__ for one in given] == ["judge", "own", "plain"]
        asked = {"prompts": [with_row(row)] * 3, "completions": ["a", "bb", "c"], "completion_ids": [[3]] * 3}

        async def ask() -> Sequence[object]:
            found: Sequence[object] = await asyncio.gather(*(one(**asked) for one in given))
            return found

        assert asyncio.run(ask()) == [[0.5, None, 0.5], [0.1, None, None], [7.0, None, 0.0]]
    alone, only, nothing = functions([row], judging, by="total", beside=(), ends=[3])
    assert only == [alone] and nothing == {} and type(alone) is not type(judge)


def test_a_split_judge_is_pickled_as_one() -> None:
    split_reward = SplitReward(JudgeConfig("http://judge:8000"), by="tag", soft=True, ends=[3])
    copy = pickle.loads(pickle.dumps(split_reward))  # noqa: S301  its own
    assert type(copy) is SplitReward and copy.__reduce__()[0].keywords == split_reward.__reduce__()[0].keywords


def test_an_error_of_the_judge_is_the_error_of_its_parts(policy: str) -> None:
    split_reward = SplitReward(JudgeConfig("http://127.0.0.1:9"), by="tag", soft=False)

    async def ask() -> Sequence[object]:
        judging = split_reward([], [], [], ticket=[99])
        return await asyncio.gather(judging, PartReward(split_reward, "a")(), return_exceptions=True)

    found = asyncio.run(ask())
    assert [type(one) for one in found] == [KeyError, KeyError]

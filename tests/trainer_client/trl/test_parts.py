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
from trainer_client.trl.parts import Beside, PartReward, SplitReward, functions, names, split
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


def _result(**met: bool | None) -> wire.Result:
    status = {True: "ok", False: "ok", None: "abstained"}
    criteria: list[dict[str, Any]] = [
        {"id": id, "status": status[one], "met": one, "p": None if one is None else 0.25 + one / 2, "p_raw": None}
        for id, one in met.items()
    ]
    return wire.Result.model_construct(
        score=0.5, status="ok", criteria=[wire.CriterionResult.model_construct(**one) for one in criteria]
    )


def test_the_parts_of_some_rows() -> None:
    rows = [_row("1", RUBRIC[:2]), _row("2", RUBRIC)]
    assert names(rows, "total") == []
    assert names(rows, "tag") == ["axis:harm", "axis:item", "theme:x", "untagged"]
    assert names(rows, "criterion") == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="row 3: a criterion has no `id` to name its reward by"):
        names([_row("3", [wire.Criterion(text="Says f.", points=1)])], "criterion")
    many = [wire.Criterion(id=f"c{n}", text="Says it.", points=1) for n in range(65)]
    assert len(names([_row("4", many[:64])], "criterion")) == 64
    with pytest.raises(ValueError, match="have 65 parts by criterion, and at most 64 can be rewards; take tag"):
        names([_row("4", many)], "criterion")


def test_a_part_is_the_points_of_its_own_verdicts() -> None:
    met = _result(a=True, b=False, c=True, d=False, e=True)
    assert split(met, RUBRIC, "tag") == {"axis:item": 0.75, "theme:x": 1.0, "axis:harm": -1.0, "untagged": 0.0}
    assert split(met, RUBRIC, "criterion") == {"a": 1.0, "b": 0.0, "c": -1.0, "d": 0.0}
    assert split(met, RUBRIC, "tag", soft=True)["axis:item"] == pytest.approx((3 * 0.75 + 1 * 0.25) / 4)


def test_a_part_without_one_of_its_verdicts_is_none() -> None:
    missing = _result(a=True, b=None, c=False, d=True)
    assert split(missing, RUBRIC, "tag") == {"theme:x": 1.0, "axis:harm": 0.0, "untagged": 1.0}


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

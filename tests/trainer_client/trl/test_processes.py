"""Trainings that are split over processes, killed, and left without their judge."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from testkit.free_port import free_port
from testkit.processes import service
from testkit.scripted_judge import Service
from tests.trainer_client.trl.tiny import judged_by, texts, word
from tests.trainer_client.trl.training_run import Plan, Running
from trainer_client.client import JudgeClient, reward
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.reward_client import JudgeConfig
from trainer_client.trl.prompt_row import ROW, bare

GROUP = 4


def plan(out: Path, policy: str, judging: JudgeConfig, **changes: Any) -> Plan:
    sizes = {"steps": 6, "prompts_per_batch": 2, "mini_batch": 1, "per_device": 2, "epochs": 3}
    return Plan(out, policy, judging, **{**sizes, **changes})


@contextmanager
def killing(at: int, *, by_criteria: bool) -> Iterator[tuple[JudgeConfig, list[Running]]]:
    """A judge that kills the run that asks it for this many answers, before it answers the last."""
    running: list[Running] = []
    asked = 0

    def verdict(response: str) -> float:
        nonlocal asked
        asked += 1
        if asked == at and running:
            running[0].kill()
        return word(response)

    with judged_by(verdict, by_criteria=by_criteria) as (judging, _):
        yield judging, running


def happened(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("step", "prompts", "from", "bare", "completion_ids", "member", "revealed")}


@pytest.mark.parametrize(("world", "dropout"), [(1, None), (2, RubricDropout(0.5, keep=1))])
def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(
    tmp_path: Path, policy: str, world: int, dropout: RubricDropout | None
) -> None:
    """Two updates a batch, six batches, three epochs of two; a checkpoint after the third; killed in the fifth. Where
    criteria are left out of the reward, the judge hears of each answer twice, and scores it by what it is asked."""
    more: dict[str, Any] = {"world": world, "dropout": dropout, "save_every": 3}
    by_criteria = dropout is not None
    with judged_by(by_criteria=by_criteria) as (judging, undisturbed):
        whole = plan(tmp_path / "whole", policy, judging, **more)
        assert Running(whole).end() == [0] * world
    with killing(at=4 * 2 * GROUP * (2 if dropout else 1) + 3, by_criteria=by_criteria) as (judging, doomed):
        cut = plan(tmp_path / "cut", policy, judging, **more)
        doomed.append(Running(cut))
        assert doomed[0].end() == [-signal.SIGKILL] * world
        (checkpoint,) = cut.out.glob("checkpoint-*")
        assert checkpoint.name == "checkpoint-6"
        before = [cut.records(rank) for rank in range(world)]
        resumed = plan(tmp_path / "resumed", policy, judging, **more, resume=str(checkpoint))
        doomed.clear()
        assert Running(resumed).end() == [0] * world
    for rank in range(world):
        wanted = [happened(record) for record in whole.records(rank)]
        assert [record["step"] for record in wanted] == [0, 2, 4, 6, 8, 10]
        assert len(before[rank]) >= 4
        assert [happened(record) for record in before[rank]] == wanted[: len(before[rank])]
        assert [happened(record) for record in resumed.records(rank)] == wanted[3:]
        orders = [[json.loads(prompt[-1][ROW])["id"] for prompt in record["prompts"]] for record in wanted]
        assert orders[:2] != orders[2:4] != orders[4:]  # each epoch in an order of its own
        ours, theirs = resumed.weights(rank), whole.weights(rank)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    asked = {len(item["rubric"]["criteria"]) for body in undisturbed.bodies for item in body["items"]}
    assert asked == ({2, 3} if dropout else {3})


def test_groups_split_over_processes(tmp_path: Path, policy: str) -> None:
    """Three groups of four on two processes: the second group's members sit on both."""

    def verdict(response: str) -> float | None:
        return None if word(response) < 0.2 else word(response)

    with judged_by(verdict) as (judging, judge):
        split = plan(
            tmp_path,
            policy,
            judging,
            world=2,
            steps=2,
            prompts_per_batch=3,
            mini_batch=3,
            per_device=6,
            rows=3,
            epochs=2,
        )
        assert Running(split).end() == [0, 0]
    assert _sizes(judge) == [2, 2, 2, 2, 4, 4, 4, 4]
    for n, ranks in enumerate(zip(split.records(0), split.records(1), strict=True)):
        together = {
            name: ranks[0][name] + ranks[1][name] for name in ("prompts", "member", "revealed_share", "completion_ids")
        }
        assert together["member"] == [0, 1, 2, 3] * 3
        ids = [json.loads(prompt[-1][ROW])["id"] for prompt in together["prompts"]]
        assert [ids[n : n + 4] for n in (0, 4, 8)] == [[one] * 4 for one in ids[::4]] and len(set(ids)) == 3
        values = [verdict(text) for text in texts(policy, together["completion_ids"])]
        _follow(split, n, values)
        log = split.records(0, "log")[n]
        assert log["judge/none_share"] == pytest.approx(values.count(None) / 12)
        assert log["scaffold/revealed_share"] == pytest.approx(sum(together["revealed_share"]) / 12)
        judged = [one for one in values if one is not None]
        assert log["reward"] == pytest.approx(sum(judged) / len(judged), rel=1e-5)
    first, second = split.weights(0), split.weights(1)
    assert all(torch.equal(first[name], second[name]) for name in first)


def _sizes(judge: Service) -> list[int]:
    return sorted(len(item["responses"]) for body in judge.bodies for item in body["items"])


def _follow(plan: Plan, n: int, values: list[float | None]) -> None:
    """The loss of batch `n` was given each completion with the advantage that these rewards imply."""
    wanted = advantages(values)
    pairs, given = [], []
    place = 0
    for rank in range(plan.world):
        rollout = plan.records(rank)[n]
        count = len(rollout["completion_ids"])
        mine = zip(rollout["completion_ids"], wanted[place : place + count], strict=True)
        pairs += [(ids, round(one, 2)) for ids, one in mine]
        place += count
        passes = count // plan.per_device
        for part in plan.records(rank, "loss")[n * passes : (n + 1) * passes]:
            for ids, mask, one in zip(part["completion_ids"], part["completion_mask"], part["advantages"], strict=True):
                given.append((ids[: sum(mask)], round(one, 2)))
    assert sorted(given) == sorted(pairs)


def advantages(values: list[float | None]) -> list[float]:
    """GRPO's, by hand; 0 exactly for what was not judged."""
    found = []
    for start in range(0, len(values), GROUP):
        group = values[start : start + GROUP]
        scored = torch.tensor([one for one in group if one is not None])
        std = float(scored.std()) if len(scored) > 1 else 0.0
        found += [0.0 if one is None else (one - float(scored.mean())) / (std + 1e-4) for one in group]
    return found


def asked_again(url: str, plan: Plan, n: int) -> list[float | None]:
    """What the service says of batch `n`, asked by the client alone."""
    rollout = plan.records()[n]
    carried = [json.loads(prompt[-1][ROW]) for prompt in rollout["prompts"]]
    answers = texts(plan.policy, rollout["completion_ids"])
    items = [
        {"prompt": bare(prompt), "response": answer, "rubric": row["rubric"]}
        for prompt, row, answer in zip(rollout["prompts"], carried, answers, strict=True)
    ]

    async def ask() -> list[float | None]:
        async with JudgeClient(url) as client:
            return [reward(outcome) for outcome in await client.score(items)]

    return asyncio.run(ask())


def test_a_judge_that_dies_and_comes_back(tmp_path: Path, policy: str) -> None:
    """The real service, killed while it is asked. With patience the run waits; without it stops with one
    message, and goes on from its checkpoint."""
    port = free_port()
    flags = ("--engine", "fake", "--port", str(port))
    sizes: dict[str, Any] = {
        "steps": 4,
        "prompts_per_batch": 2,
        "mini_batch": 2,
        "per_device": 4,
        "epochs": 2,
        "save_every": 1,
    }
    url = f"http://127.0.0.1:{port}"
    patient = plan(tmp_path / "patient", policy, JudgeConfig(url, judge_timeout_s=90), pause_at=2, **sizes)
    hasty = plan(tmp_path / "hasty", policy, JudgeConfig(url, judge_timeout_s=6), pause_at=2, **sizes)
    with service(*flags) as judge:
        runs = [Running(one) for one in (patient, hasty)]
        for run in runs:
            run.until(lambda plan: len(plan.records(kind="begin")) == 3)
        judge.process.send_signal(signal.SIGSTOP)
        for run in runs:
            (run.plan.out / "go").touch()
            run.until(lambda plan: len(plan.records()) == 3)
        judge.process.kill()
        judge.process.wait()
    assert runs[1].end() == [1]
    assert hasty.error().startswith("TooFewJudged: 8 of 8 rollouts have no reward after 6 s (8 ")
    assert hasty.error().endswith("Bring the judge back, and resume from the last checkpoint")
    assert [record["step"] for record in hasty.records(kind="loss")] == [0, 0, 1, 1]
    assert len(patient.records(kind="loss")) == 4  # it still waits
    with service(*flags):
        assert runs[0].end() == [0]
        resumed = plan(tmp_path / "resumed", policy, hasty.judging, resume=str(hasty.out / "checkpoint-2"), **sizes)
        assert Running(resumed).end() == [0]
        for n in range(4):
            _follow(patient, n, asked_again(url, patient, n))
        assert [log["judge/none_share"] for log in patient.records(kind="log")[:4]] == [0.0] * 4
        assert [happened(record) for record in resumed.records()] == [happened(one) for one in patient.records()[2:]]
    assert all(torch.equal(one, patient.weights()[name]) for name, one in resumed.weights().items())

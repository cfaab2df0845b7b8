"""What a training will take is arithmetic on the plan; hours are the formula of `rubricd size`."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import Service, served
from tests.trainer_client.training import runs
from trainer_client.sizing.hardware import GPUS, JUDGES
from trainer_client.sizing.model import Work, size
from trainer_client.training.estimate import judgements, lines
from trainer_client.training.preflight import Plan, prepare
from trainer_client.training.run import config as run_config


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(Service()) as url:
        yield url


def _plan(folder: Path, url: str, model: str = "fake", **fields: Any) -> Plan:
    plan = prepare(run_config.read(runs.run_file(folder, url, **fields)), resume=False)
    return replace(plan, judge={**plan.judge, "model": model})


def test_the_counts(tmp_path: Path, url: str) -> None:
    plan = _plan(tmp_path, url, mini_batch=1, trl={"num_iterations": 2})
    tokens = {row.id: 10 + 2 * n for n, row in enumerate({row.id: row for row in plan.order}.values())}
    said = lines(plan, tokens, 90)
    assert judgements(plan) == 4 * 2 * 4 * 3
    assert said[0] == (
        "16 optimiser steps, 32 rollouts; a prompt has 17 tokens on average and 24 at most, an answer at most 90: at "
        "most 3,424 tokens of the policy"
    )
    assert said[1] == "96 judgements by fake; for its hours give its config.json to `rubricd size --judge`"


def test_a_rating_is_one_judgement_and_votes_are_several(tmp_path: Path, url: str) -> None:
    plan = _plan(tmp_path, url)

    def judged(**judging: Any) -> int:
        part = plan.run.judging.model_copy(update=judging)
        return judgements(replace(plan, run=plan.run.model_copy(update={"judging": part})))

    assert (judged(mode="implicit"), judged(mode="reasoned"), judged(mode="reasoned", votes=5)) == (32, 96, 480)


def test_rubrics_that_change_cost_what_they_add(tmp_path: Path, url: str) -> None:
    """A part of a rubric costs no verdict beside the whole, but a rating of its own; 2 + 3 evolved ones may count."""
    evolving = {"proposer": {"call": "a:b"}, "active": 2, "propose": 3}
    plan = _plan(tmp_path, url, rubric_dropout={}, evolving=evolving)
    tokens = {row.id: 10 for row in plan.order}
    assert "96 judgements by fake, and at most 160 more of evolved criteria;" in lines(plan, tokens, 90)[1]
    rating = plan.run.judging.model_copy(update={"mode": "implicit"})
    assert judgements(replace(plan, run=plan.run.model_copy(update={"judging": rating}))) == 64


def test_the_hours_are_those_of_rubricd_size(tmp_path: Path, url: str) -> None:
    plan = _plan(tmp_path, url, "Qwen/Qwen2.5-7B-Instruct")
    plan = replace(plan, order=plan.order * 10_000, steps=plan.steps * 10_000)
    work = Work(instructions=100, conversation=200, response=600, criterion=40, criteria=3, group=4)
    rate = size(JUDGES["7B"], GPUS["H100"], work, dtype="bf16", responses=8, seconds=30.0).verdicts_per_s
    (_, said) = lines(plan, {row.id: 200 for row in plan.order}, 4096)
    found = re.search(r"960,000 judgements by Qwen/Qwen2.5-7B-Instruct, about ([\d.]+) hours on one H100", said)
    assert found is not None and float(found.group(1)) == pytest.approx(960_000 / rate / 3600, abs=0.05) != 0

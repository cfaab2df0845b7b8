import asyncio
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import LabelRead, Prompt
from service.engine.fake import FakeEngine, Fault, FaultPlan, oracle
from service.errors import EngineFailed, TooLong
from service.scoring.verdict import read

LABELS = (1, 2)
PROMPTS = [Prompt((1, 2), (i,)) for i in range(6)]
RIGHT = [oracle(prompt.ids, 3) for prompt in PROMPTS]


def fake(*script: Fault, **options: Any) -> FakeEngine:
    return FakeEngine(seed=3, plan=FaultPlan(script=script), **options)


@given(st.lists(st.integers(0, 2**31)), st.integers(-(2**62), 2**62), st.integers(2, 10))
def test_the_oracle_is_a_distribution_with_most_of_the_mass(ids: list[int], seed: int, labels: int) -> None:
    logprobs = oracle(ids, seed, labels).logprobs
    assert len(logprobs) == labels
    assert 0.9 <= sum(map(math.exp, logprobs)) < 1.0 + 1e-12
    assert oracle(ids, seed, labels).logprobs == logprobs


def test_the_oracle_tells_prompts_and_seeds_apart() -> None:
    reads = {oracle(ids, seed) for ids in ((), (1,), (1, 2), (2, 1), (12,), (1, 0), (256,)) for seed in (0, 1)}
    assert len(reads) == 14
    p = [read(oracle((i,), 0)).p_met for i in range(2000)]
    assert sum(p) / len(p) == pytest.approx(0.5, abs=0.02)
    assert sum(x < 0.1 for x in p) / len(p) == pytest.approx(0.1, abs=0.02)


async def test_a_healthy_engine_answers_as_the_oracle_and_remembers() -> None:
    engine = fake()
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert await engine.read_labels(PROMPTS[::-1][:2], LABELS) == RIGHT[::-1][:2]
    assert (engine.calls, engine.prompts, engine.tokens) == (2, 8, 24)
    assert engine.asked == [prompt.ids for prompt in [*PROMPTS, *PROMPTS[::-1][:2]]]
    assert engine.identity != FakeEngine(seed=4).identity
    capped = fake(remember=4)
    await capped.read_labels(PROMPTS, LABELS)
    await capped.read_labels(PROMPTS, LABELS)
    assert capped.asked == [prompt.ids for prompt in PROMPTS[:4]]


@pytest.mark.parametrize(("fault", "n"), [("few", 5), ("many", 7)])
async def test_too_few_and_too_many_answers(fault: Fault, n: int) -> None:
    outcomes = await fake(fault).read_labels(PROMPTS, LABELS)
    assert len(outcomes) == n
    assert outcomes[:5] == RIGHT[:5]


@pytest.mark.parametrize("fault", ["some", "nan", "low_mass"])
async def test_a_fault_of_some_prompts_leaves_the_others_right(fault: Fault) -> None:
    outcomes = await fake(fault).read_labels(PROMPTS, LABELS)
    hit = [outcome for outcome, right in zip(outcomes, RIGHT, strict=True) if outcome != right]
    assert 1 <= len(hit) < 6
    for outcome in hit:
        if fault == "some":
            assert isinstance(outcome, EngineFailed)
            continue
        assert isinstance(outcome, LabelRead)
        if fault == "nan":
            assert all(map(math.isnan, outcome.logprobs))
        else:
            assert read(outcome).label_mass < 1e-5
    assert (await fake(fault).read_labels(PROMPTS[:1], LABELS))[0] != RIGHT[0]


async def test_whole_batches_fail_and_the_next_one_does_not() -> None:
    engine = fake("batch", "crash")
    with pytest.raises(EngineFailed):
        await engine.read_labels(PROMPTS, LABELS)
    with pytest.raises(RuntimeError):
        await engine.read_labels(PROMPTS, LABELS)
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert engine.faults == {"batch": 1, "crash": 1, "ok": 1}


async def test_dead_and_stopped_engines_stay_so() -> None:
    engine = fake("ok", "die", "ok")
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    for _ in range(3):
        with pytest.raises(EngineFailed):
            await engine.read_labels(PROMPTS, LABELS)
    assert engine.dead
    stopped = fake()
    await stopped.stop()
    with pytest.raises(EngineFailed, match="stopped"):
        await stopped.read_labels(PROMPTS, LABELS)


async def test_a_hang_ends_only_when_cancelled() -> None:
    engine = fake("hang")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.read_labels(PROMPTS, LABELS), timeout=0.05)
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT


async def test_slowness_waits_on_the_given_clock() -> None:
    waited: list[float] = []

    async def sleep(delay_s: float) -> None:
        waited.append(delay_s)

    engine = FakeEngine(seed=3, plan=FaultPlan(batch_s=100.0, token_s=2.0), sleep=sleep)
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert waited == [100.0 + 2.0 * 18]


async def test_length_and_empty_own_parts_are_kept_like_real_engines_do() -> None:
    outcomes = await fake(max_model_len=4).read_labels([Prompt((1, 2), (3,)), Prompt((1, 2), (3, 4))], LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelRead, TooLong]
    with pytest.raises(ValueError, match="never empty"):
        await fake().read_labels([Prompt((1,), ())], LABELS)


async def history(seed: int) -> list[str]:
    engine = FakeEngine(seed=seed, plan=FaultPlan(rates={"batch": 0.2, "some": 0.2, "few": 0.1, "nan": 0.1}))
    seen = []
    for _ in range(300):
        try:
            seen.append(str(await engine.read_labels(PROMPTS, LABELS)))
        except EngineFailed as error:
            seen.append(str(error))
    assert engine.faults["batch"] == pytest.approx(60, abs=25)
    assert engine.faults["ok"] == pytest.approx(120, abs=35)
    return seen


async def test_random_faults_replay_from_the_seed() -> None:
    assert await history(1) == await history(1)
    assert await history(1) != await history(2)


@pytest.mark.parametrize("plan", [{"script": ("typo",)}, {"rates": {"batch": 0.7, "nan": 0.7}}, {"rates": {"nan": -1}}])
def test_a_plan_that_makes_no_sense_is_refused(plan: Any) -> None:
    with pytest.raises(ValueError, match="fault"):
        FaultPlan(**plan)


def test_it_needs_no_torch() -> None:
    code = "import sys, service.engine.fake; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

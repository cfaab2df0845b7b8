import asyncio
import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import Engine, Generation, LabelLogprobs, Prompt, Sampling
from service.engine.fake import FakeEngine, Fault, FaultPlan, oracle, text_oracle
from service.errors import EngineFailed, TooLong
from service.modes.label_verdict import read_verdict

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
    p = [read_verdict(oracle((i,), 0)).p_met for i in range(2000)]
    assert sum(p) / len(p) == pytest.approx(0.5, abs=0.02)
    assert sum(x < 0.1 for x in p) / len(p) == pytest.approx(0.1, abs=0.02)


async def test_a_healthy_engine_answers_as_the_oracle_and_remembers() -> None:
    engine = fake()
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert await engine.read_labels(PROMPTS[::-1][:2], LABELS) == RIGHT[::-1][:2]
    assert (engine.calls, engine.prompts, engine.tokens) == (2, 8, 24)
    assert engine.seen_ids == [prompt.ids for prompt in [*PROMPTS, *PROMPTS[::-1][:2]]]
    assert engine.identity != FakeEngine(seed=4).identity
    capped = fake(remember=4)
    await capped.read_labels(PROMPTS, LABELS)
    await capped.read_labels(PROMPTS, LABELS)
    assert capped.seen_ids == [prompt.ids for prompt in PROMPTS[:4]]


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
        assert isinstance(outcome, LabelLogprobs)
        if fault == "nan":
            assert all(map(math.isnan, outcome.logprobs))
        else:
            mass = read_verdict(outcome).label_mass
            assert mass is not None and mass < 1e-5
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


async def test_a_slow_call_waits_on_the_given_clock() -> None:
    waited: list[float] = []

    async def sleep(delay_s: float) -> None:
        waited.append(delay_s)

    engine = FakeEngine(seed=3, plan=FaultPlan(batch_s=100.0, token_s=2.0), sleep=sleep)
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert waited == [100.0 + 2.0 * 18]


async def test_length_and_empty_own_parts_are_refused_as_by_real_engines() -> None:
    outcomes = await fake(max_model_len=4).read_labels([Prompt((1, 2), (3,)), Prompt((1, 2), (3, 4))], LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, TooLong]
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


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "z": {"type": "string", "maxLength": 10},
            "explanation": {"type": "string"},
            "criteria_met": {"type": "boolean"},
            "rating": {"type": "integer", "minimum": 3, "maximum": 5},
            "word": {"enum": ["a", "b"]},
        },
    }
)
VERDICT = Sampling(max_tokens=50, json_schema=SCHEMA)
TEXTS = [text_oracle(prompt.ids, 3, VERDICT) for prompt in PROMPTS]


async def test_texts_are_documents_of_the_schema_and_the_oracles() -> None:
    engine: Engine = fake()
    assert await engine.generate(PROMPTS, [VERDICT] * 6) == TEXTS
    assert await engine.generate(PROMPTS[::-1][:2], [VERDICT] * 2) == TEXTS[::-1][:2]
    for text in TEXTS:
        document = json.loads(text.text)
        assert list(document) == ["z", "explanation", "criteria_met", "rating", "word"]
        assert [type(value) for value in document.values()] == [str, str, bool, int, str]
        assert len(document["z"]) <= 10 and 3 <= document["rating"] <= 5 and document["word"] in ("a", "b")
        assert text.finished and 0 < text.tokens <= 50
    (free,) = await engine.generate(PROMPTS[:1], [Sampling(max_tokens=50)])
    assert isinstance(free, Generation) and free.finished and not free.text.startswith("{")
    with pytest.raises(ValueError, match="shorter"):
        await engine.generate(PROMPTS, [VERDICT])
    with pytest.raises(ValueError, match="tuple"):
        await engine.generate(PROMPTS[:1], [Sampling(max_tokens=50, json_schema='{"type": "tuple"}')])


def test_a_seed_counts_when_something_is_drawn_and_verdicts_are_uniform() -> None:
    drawn = [Sampling(max_tokens=50, temperature=0.7, seed=seed, json_schema=SCHEMA) for seed in range(400)]
    texts = [text_oracle((1, 2), 0, sampling) for sampling in drawn]
    assert texts == [text_oracle((1, 2), 0, sampling) for sampling in drawn]
    assert len({text.text for text in texts}) == 400
    assert sum(json.loads(text.text)["criteria_met"] for text in texts) == pytest.approx(200, abs=50)
    greedy = {text_oracle((1, 2), 0, Sampling(max_tokens=50, seed=seed)).text for seed in range(5)}
    assert len(greedy) == 1
    assert text_oracle((1, 2), 1, VERDICT) != text_oracle((1, 2), 0, VERDICT) != text_oracle((1, 3), 0, VERDICT)


async def test_a_text_that_does_not_fit_is_cut_or_refused() -> None:
    cut = text_oracle((1,), 0, Sampling(max_tokens=3))
    assert (cut.finished, cut.tokens, len(cut.text.split())) == (False, 3, 3)
    outcomes = await fake(max_model_len=53).generate([*PROMPTS[:1], Prompt((1, 2), (3, 4))], [VERDICT] * 2)
    assert [type(outcome) for outcome in outcomes] == [Generation, TooLong]


@pytest.mark.parametrize("fault", ["some", "truncated", "garbage", "few", "many"])
async def test_faults_of_texts_leave_the_others_right(fault: Fault) -> None:
    outcomes = await fake(fault).generate(PROMPTS, [VERDICT] * 6)
    assert len(outcomes) == {"few": 5, "many": 7}.get(fault, 6)
    hit = [outcome for outcome, right in zip(outcomes, TEXTS, strict=False) if outcome != right]
    assert len(hit) == 0 if fault in ("few", "many") else 1 <= len(hit) < 6
    for outcome in hit:
        assert isinstance(outcome, EngineFailed if fault == "some" else Generation)
        if isinstance(outcome, Generation):
            assert outcome.finished == (fault == "garbage")
            with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
                json.loads(outcome.text)


@pytest.mark.parametrize("fault", ["nan", "low_mass"])
async def test_faults_of_labels_leave_texts_right(fault: Fault) -> None:
    assert await fake(fault).generate(PROMPTS, [VERDICT] * 6) == TEXTS


@pytest.mark.parametrize("fault", ["truncated", "garbage"])
async def test_faults_of_texts_leave_labels_right(fault: Fault) -> None:
    assert await fake(fault).read_labels(PROMPTS, LABELS) == RIGHT


async def test_whole_generations_fail_hang_and_die() -> None:
    engine = fake("batch", "crash", "hang", "die")
    with pytest.raises(EngineFailed):
        await engine.generate(PROMPTS, [VERDICT] * 6)
    with pytest.raises(RuntimeError):
        await engine.generate(PROMPTS, [VERDICT] * 6)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.generate(PROMPTS, [VERDICT] * 6), timeout=0.05)
    for _ in range(2):
        with pytest.raises(EngineFailed):
            await engine.generate(PROMPTS, [VERDICT] * 6)
    assert engine.dead and (engine.calls, engine.prompts) == (5, 30)


async def test_a_test_may_set_whether_the_engine_streams_and_is_down() -> None:
    engine = fake()
    assert (engine.streams, engine.down) == (False, None)
    engine.streams, engine.down = True, "the judge is restarting"
    with pytest.raises(EngineFailed, match="restarting"):
        await engine.read_labels(PROMPTS, LABELS)
    with pytest.raises(EngineFailed, match="restarting"):
        await engine.generate(PROMPTS, [VERDICT] * 6)
    assert engine.calls == 0
    engine.down = None
    engine.cancel(PROMPTS[2])
    assert await engine.read_labels(PROMPTS, LABELS) == RIGHT
    assert engine.cancelled == [PROMPTS[2]]
    await engine.stop()
    assert engine.down == "the judge was stopped"


def test_it_needs_no_torch() -> None:
    code = "import sys, service.engine.fake; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

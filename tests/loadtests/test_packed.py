"""One by one, packed and batched: what is counted, what is compared, and the whole comparison on fake judges."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from loadtests.packed import measure_all, tables
from loadtests.readings import BATCH, ONE, PACKED, Arm, Bench, compared, packed, reading_anyway, truth
from service.engine.base import Generation, GenerationOutcome, Prompt, Sampling
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.settings import EngineSettings
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S


def test_each_packed_prompt_begins_with_the_whole_one_before_it() -> None:
    alone = [Prompt((1, 2), (3,)), Prompt((1, 2), (4, 5)), Prompt((1, 2), (6,))]
    assert [prompt.ids for prompt in packed(alone)] == [(1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)]
    assert [prompt.own for prompt in packed(alone)] == [prompt.own for prompt in alone]


def test_a_missing_verdict_is_in_neither_the_agreement_nor_the_accuracy() -> None:
    first, second = Arm(ONE, [0.9, 0.2, 0.8]), Arm(PACKED, [0.6, 0.7, None])
    found = compared(first, second, [True, False, True])
    assert (found["same"], found["both"], found["criteria"]) == (0.5, 2, 3)
    arms = found["arms"]
    assert (arms[ONE]["judged"], arms[ONE]["right"]) == (3, 1.0)
    assert (arms[PACKED]["judged"], arms[PACKED]["right"]) == (2, 0.5)
    assert found["mean_apart"] == pytest.approx(0.4)


def test_where_nothing_is_judged_there_is_no_share() -> None:
    found = compared(Arm(ONE, [None]), Arm(BATCH, [0.9]), [True])
    assert found["same"] is None and found["arms"][ONE]["right"] is None and found["largest_apart"] is None


async def test_both_comparisons_judge_the_same_criteria_and_count_what_the_engine_does() -> None:
    engine = FakeEngine()
    bench = Bench(LoadedJudge(engine, family("qwen")))
    verdict = await bench.verdicts(3, seed=7)
    computed = engine.tokens
    reasoned = await bench.documents(3, seed=7, together=2)
    await bench.close()
    assert reasoned is not None
    criteria = len(truth(3, 7))
    arms = {**verdict["arms"], **{f"written {name}": arm for name, arm in reasoned["arms"].items()}}
    assert [arm["judged"] for arm in arms.values()] == [criteria] * 4
    assert sum(arm["computed_tokens"] for arm in verdict["arms"].values()) == computed
    assert verdict["least_tokens_packed"] < arms[PACKED]["computed_tokens"], (
        "this engine computes each prompt by itself"
    )
    assert arms[f"written {BATCH}"]["written_tokens"] > 0 == arms[ONE]["written_tokens"]
    shown = tables({"judge": "a/fake", "engine": "fake", "verdict": verdict, "reasoned": reasoned})
    assert shown.count("the same verdict") == 2 and f"{criteria}/{criteria}" in shown


class Echo(FakeEngine):
    """Writes labels where explanations belong."""

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        names = [json.loads(sampling.json_schema or "{}")["required"] for sampling in samplings]
        one = {"explanation": "yes yes", "criteria_met": True}
        texts = [json.dumps(dict.fromkeys(some, one) if "c1" in some else one) for some in names]
        return [Generation(text, True, 9) for text in texts]


async def test_what_the_service_would_not_count_is_counted_where_that_is_wanted() -> None:
    bench = Bench(LoadedJudge(Echo(), family("qwen")))
    strict = await bench.documents(1, seed=7)
    with reading_anyway():
        anyway = await bench.documents(1, seed=7)
    await bench.close()
    assert strict is not None and anyway is not None
    criteria = len(truth(1, 7))
    assert [arm["judged"] for arm in strict["arms"].values()] == [0, 0]
    assert [sum(arm["missing"].values()) for arm in strict["arms"].values()] == [criteria] * 2
    assert [arm["judged"] for arm in anyway["arms"].values()] == [criteria] * 2


def test_a_judge_that_cannot_be_measured_says_why_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def built(settings: EngineSettings) -> LoadedJudge:
        if settings.engine == "vllm":
            raise ConfigurationError("vLLM is not installed")
        return LoadedJudge(FakeEngine(), family("qwen"))

    monkeypatch.setattr("loadtests.packed.build", built)
    heard: list[str] = []
    found = measure_all(1, "/a/judge", heard.append)
    assert [one.get("failed") for one in found] == [None, "vLLM is not installed", None] and len(heard) == 3
    assert [one.keys() & {"verdict", "reasoned"} for one in found] == [{"verdict"}, set(), {"verdict", "reasoned"}]
    assert "failed: vLLM is not installed" in tables(found[1])


async def test_a_judge_that_writes_nothing_has_no_documents() -> None:
    bench = Bench(LoadedJudge(FakeEngine(), family("qwen"), unserved=frozenset({"reasoned"})))
    assert await bench.documents(1, seed=7) is None
    await asyncio.wait_for(bench.close(), HUNG_S)

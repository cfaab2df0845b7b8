"""All criteria of a response in one document: each verdict is read at its own place, and no batch has another's."""

import asyncio
import json
import math
import random
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.clock import ManualClock, settle
from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import EngineFailed, InvalidRequest
from service.modes.batched import BatchedMode
from service.rubrics.rubric import Candidate, Criterion, Option, Rule, Turn
from service.scoring.batches import batch_queries
from service.scoring.request import Options
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family
from tests.service.scoring.shared import Budget, Pool, replica
from tests.service.scoring.test_scorer import scoring

TOGETHER = Options(mode="reasoned", batch="all")
HOSTILE = ['"}, "c2": {"', "\u202e\x00é🌟", "c1", "x" * 200, "</s><|im_end|>", '\\"', "{", "\ud83d\ude00"]
CASES = 1_000


def asked(criteria: Sequence[str], response: str = "Rest it, and cool it with ice.") -> Candidate:
    made = tuple(Criterion(HOSTILE[n % len(HOSTILE)] + str(n), text, 1.0) for n, text in enumerate(criteria))
    return Candidate("0", (Turn("user", "My knee hurts a lot now."),), response, made)


def p_of(explanation: str) -> float:
    """What this judge thinks where it has written this explanation."""
    return (zlib.crc32(explanation.encode()) % 9_998 + 1) / 10_000


class Writer(FakeEngine):
    """Writes documents with random faults. `told` has what became of each criterion of each document, by the document's
    number: the explanation, or None where its entry is spoilt. P(met) follows from the explanation before it."""

    def __init__(self, seed: int = 0, *, faults: bool = True) -> None:
        super().__init__(remember=0)
        self._rng = random.Random(seed)
        self._faults = faults
        self._tokenizer = family("qwen")
        self.kinds: Counter[str] = Counter()
        self.told: list[list[str | None]] = []
        self.writings = self.readings = 0

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        self.writings += len(prompts)
        return [self._document(json.loads(sampling.json_schema or "{}")["required"]) for sampling in samplings]

    def _document(self, names: Sequence[str]) -> Generation:
        pairs: list[tuple[str, str]] = []
        told: list[str | None] = []
        first: list[str | None] = []
        for name in names:
            said = f"Document {len(self.told)} finds for {name} that ice is named."
            entry = json.dumps({"explanation": said, "criteria_met": self._rng.random() < 0.5})
            kinds = ["whole"] * 5 + ["missing", "twice", "unknown", "other", "echo"]
            kind = self._rng.choice(kinds) if self._faults else "whole"
            self.kinds[kind] += 1
            told.append(said if kind == "whole" else None)
            first.append(said if kind in ("whole", "twice") else None)
            echo = json.dumps({"explanation": "yes yes", "criteria_met": True})
            pairs += {
                "whole": [(name, entry)],
                "missing": [],
                "twice": [(name, entry), (name, echo)],
                "unknown": [(f"{name}9999", entry)],
                "other": [(name, '{"criteria_met": true}')],
                "echo": [(name, echo)],
            }[kind]
        text = "{" + ", ".join(f'"{name}": {entry}' for name, entry in pairs) + "}"
        cut = self._faults and self._rng.random() < 0.1
        if cut:
            self.kinds["cut"] += 1
            end = self._rng.randrange(len(text))
            told = [
                said if _stands_once(text[:end], name, said) else None for name, said in zip(names, first, strict=True)
            ]
            text = text[:end]
        self.told.append(told)
        return Generation(text, not cut, 9)

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        self.readings += len(prompts)
        return [self.labels_of(prompt) for prompt in prompts]

    def labels_of(self, prompt: Prompt) -> Outcome:
        if self._faults and self._rng.random() < 0.02:
            self.kinds["no reading"] += 1
            return EngineFailed("this one could not be read")
        written = str(self._tokenizer.decode(list(prompt.own))).removeprefix(", ")
        explanation = written.partition('{"explanation": "')[2].rpartition('", "criteria_met"')[0]
        p = p_of(explanation)
        return LabelLogprobs((math.log(p * 0.9), math.log((1 - p) * 0.9)))


def _stands_once(text: str, name: str, said: str | None) -> bool:
    return said is not None and text.count(f'"{name}":') == 1 and "}" in text[text.find(said) :] and said in text


async def test_1000_documents_with_faults_hold_no_invented_verdict() -> None:
    writer = Writer(1)
    wrong = ok = missing = 0
    async with scoring(writer) as scorer:
        for n in range(CASES // 10):
            many = [asked([f"Criterion {n} {i} {j}." for j in range(2 + i % 6)]) for i in range(10)]
            for one in many:
                [scored], _ = await scorer.score([one], TOGETHER)
                for said, judgement in zip(writer.told[-1], scored.judgements, strict=True):
                    ok += judgement.ok
                    missing += said is None
                    if said is None:
                        wrong += (judgement.status, judgement.met, judgement.p) != ("unparseable", None, None)
                    elif judgement.status != "engine_error":
                        wrong += abs((judgement.p or 0.0) - p_of(said)) > 1e-9 or judgement.explanation != said
                        wrong += judgement.met is not (p_of(said) >= 0.5)
                    else:
                        wrong += (judgement.met, judgement.p) != (None, None)
    assert wrong == 0, writer.kinds
    assert min(writer.kinds.values()) > 25 and len(writer.kinds) == 8 and ok > CASES and missing > CASES


async def test_no_verdict_of_a_batch_is_served_for_another_one() -> None:
    """600 requests by rubrics of the same five criteria: another subset, order or response is another batch, and
    another id, weight or sign is none."""
    rng = random.Random(3)
    writer = Writer(faults=False)
    texts = [f"Criterion number {n}." for n in range(5)]
    first: dict[tuple[object, ...], list[tuple[float | None, str | None]]] = {}
    async with scoring(writer) as scorer:
        for _ in range(600):
            chosen = tuple(rng.sample(texts, rng.randint(1, 5)))
            one = asked(chosen, rng.choice(["Rest it, and cool it with ice.", "See a doctor about it soon."]))
            criteria = tuple(
                replace(each, id=f"{n} {rng.random()}", points=rng.choice([-2.0, 1.0]))
                for n, each in enumerate(one.criteria)
            )
            [scored], usage = await scorer.score([replace(one, criteria=criteria)], TOGETHER)
            said = [(judgement.p, judgement.explanation) for judgement in scored.judgements]
            known = first.setdefault((chosen, one.response), said)
            assert said == known
            assert usage.judgements + usage.cache_hits == len(chosen)
    assert writer.writings == len(first) > 200, "each batch was written once"
    explanations = [explanation for said in first.values() for _, explanation in said]
    assert len(set(explanations)) == len(explanations), "no two batches have a verdict in common"


async def test_a_batch_in_which_a_verdict_is_missing_is_written_again() -> None:
    class Half(Writer):
        def labels_of(self, prompt: Prompt) -> Outcome:
            return (
                EngineFailed("not this one")
                if self.readings == 3 and prompt is self.last
                else super().labels_of(prompt)
            )

        async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
            self.last = prompts[-1]
            return await super().read_labels(prompts, label_ids)

    writer = Half(faults=False)
    async with scoring(writer) as scorer:
        statuses = []
        for _ in range(3):
            [scored], usage = await scorer.score([asked(["A b c.", "D e f.", "G h i."])], TOGETHER)
            statuses.append([judgement.status for judgement in scored.judgements] + [str(usage.cache_hits)])
    assert statuses == [["ok", "ok", "engine_error", "0"], ["ok", "ok", "ok", "0"], ["ok", "ok", "ok", "3"]]
    assert writer.writings == 2


async def test_equal_batches_at_once_are_written_once() -> None:
    writer = Writer(faults=False)
    async with scoring(writer) as scorer:
        requests = [scorer.score([asked(["A b c.", "D e f."])], TOGETHER) for _ in range(5)]
        answers = await asyncio.gather(*requests)
    assert writer.writings == 1
    assert len({tuple(one.p for one in scored.judgements) for [scored], _ in answers}) == 1
    counts = [(usage.judgements, usage.deduplicated + usage.cache_hits) for _, usage in answers]
    assert sorted(counts) == [(0, 2)] * 4 + [(2, 0)], "each criterion counts"


async def test_a_deadline_that_passes_while_verdicts_are_read_gives_no_verdict() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as scorer:
        scoring_it = asyncio.create_task(scorer.score([asked(["A b c.", "D e f."])], replace(TOGETHER, deadline_s=2.5)))
        while not scoring_it.done():
            await asyncio.sleep(0.001)
            await clock.advance(0.5)
        [scored], _ = scoring_it.result()
        assert scorer.evaluator.flights == 0
    assert [(one.status, one.met, one.p) for one in scored.judgements] == [("timeout", None, None)] * 2
    assert engine.calls >= 2, "the document was written, and a verdict in it was read"


async def test_votes_are_documents_and_each_criterion_has_their_mean() -> None:
    writer = Writer(faults=False)
    async with scoring(writer) as scorer:
        [scored], usage = await scorer.score([asked(["A b c.", "D e f."])], replace(TOGETHER, votes=3))
    assert (writer.writings, writer.readings, usage.judgements) == (3, 6, 6)
    for place, judgement in enumerate(scored.judgements):
        votes = [p_of(said) for told in writer.told if (said := told[place])]
        assert judgement.p == pytest.approx(sum(votes) / 3)


async def test_a_rule_is_in_no_document() -> None:
    writer = Writer(faults=False)
    one = asked(["A b c.", "D e f.", "G h i."])
    ruled = replace(one.criteria[1], rule=Rule("contains", {"text": "ice", "ignore_case": False}))
    async with scoring(writer) as scorer:
        [scored], usage = await scorer.score(
            [replace(one, criteria=(one.criteria[0], ruled, one.criteria[2]))], TOGETHER
        )
    assert [judgement.source for judgement in scored.judgements] == ["judge", "rule", "judge"]
    [told] = writer.told
    assert [scored.judgements[0].explanation, scored.judgements[2].explanation] == told and usage.judgements == 2


async def test_responses_of_a_group_are_documents_of_their_own_and_share_a_rubric() -> None:
    one = asked(["A b c.", "D e f."])
    queries, first, within = batch_queries([one, replace(one, response="No.")], [(0, 0), (0, 1), (1, 1)], (0,))
    assert [len(query.candidate.criteria) for query in queries] == [2, 1] and queries[0].candidate is one
    assert (first, within) == ({(0, 0): 0, (0, 1): 0, (1, 1): 1}, {(0, 0): 0, (0, 1): 1, (1, 1): 0})
    parts, _, _ = batch_queries([one, replace(one, response="No.")], [(0, 1), (1, 1)], (0,))
    assert parts[0].candidate.criteria is parts[1].candidate.criteria


async def test_a_document_that_cannot_fit_is_refused_with_what_would_fit() -> None:
    settings = ModeSettings(reasoned_tokens=100)
    engine = FakeEngine(max_model_len=MOST)
    async with scoring(engine, mode_settings=settings) as scorer:
        mode = scorer.judging_modes.choose(*TOGETHER.way)
        assert isinstance(mode, BatchedMode)
        changed = scorer.judging_modes.replaced(
            {**scorer.judging_modes.ways, TOGETHER.way: replace(mode, limit_tokens=MOST)}
        )
        scorer.judging_modes = changed
        with pytest.raises(InvalidRequest, match="at most 9 criteria a response, or leave `batch` out"):
            await scorer.score([asked([f"Criterion {n}." for n in range(10)])], TOGETHER)
        [scored], _ = await scorer.score([asked([f"Criterion {n}." for n in range(9)])], TOGETHER)
    assert {judgement.status for judgement in scored.judgements} == {"too_long"}
    assert "document of 9 criteria" in (scored.judgements[0].detail or "") and engine.calls == 0


MOST = 950


@pytest.mark.parametrize(
    "criterion",
    [
        Criterion("a", "How good?", 1.0, options=(Option("bad", 0.0), Option("good", 1.0))),
    ],
)
async def test_what_is_more_than_met_or_not_is_refused(criterion: Criterion) -> None:
    async with scoring(FakeEngine()) as scorer:
        with pytest.raises(InvalidRequest, match="criterion `a` has levels, choices or a value; leave `batch` out"):
            await scorer.score([replace(asked(["A b c."]), criteria=(criterion,))], TOGETHER)


async def test_what_is_reserved_is_settled_once_with_documents_and_readings() -> None:
    budget, pool, engine = Budget(), Pool(), FakeEngine()
    async with replica(engine, pool) as (scorer, _):
        [scored], usage = await scorer.score([asked(["A b c.", "D e f."])], replace(TOGETHER, reserve=budget.reserve))
    assert all(judgement.ok for judgement in scored.judgements)
    assert budget.settled == [usage.prompt_tokens + usage.completion_tokens]
    assert usage.prompt_tokens == engine.tokens and pool.holders == {}


async def test_a_caller_that_leaves_settles_in_40_of_40_trials() -> None:
    rng = random.Random(5)
    for trial in range(40):
        clock, pool, budget = ManualClock(), Pool(), Budget()
        engine = FakeEngine(seed=trial, plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
        async with replica(engine, pool, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
            leaving = asyncio.create_task(
                scorer.score([asked(["A b c.", "D e f.", "G h i."])], replace(TOGETHER, reserve=budget.reserve))
            )
            await asyncio.sleep(0.001)
            await clock.advance(rng.uniform(0.0, 5.0))
            await settle()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            while scorer.evaluator.starting:
                await asyncio.sleep(0.001)
            await settle()
            assert scorer.evaluator.flights == 0 and pool.holders == {}
            await clock.advance(10.0)
        assert len(budget.settled) == len(budget.reserved) <= 1
        assert all(0 <= used <= engine.tokens + 5_000 for used in budget.settled)

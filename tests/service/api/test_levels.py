"""Levels, choices and extracted values over HTTP: real app, queue, caches and rules, with the fake engine."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Prompt, Sampling
from service.engine.fake import FakeEngine, oracle
from service.modes.level_labels import read_levels
from service.prompting.tokenization import Segmenter
from testkit.apps import fake_settings, item, serving
from testkit.tokenizer_families import family
from trainer_client import wire

THREE: list[dict[str, Any]] = [
    {"text": "says nothing", "value": 0},
    {"text": "names it", "value": 0.5},
    {"text": "explains it", "value": 1},
]
GRADED = {"text": "Says when to see a doctor.", "points": 4, "levels": THREE}


class Copyist(FakeEngine):
    """Writes `value` for every response that holds the word of a key, and null else."""

    def __init__(self, values: dict[str, Any], **more: Any) -> None:
        super().__init__(**more)
        self.values = values

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        decode = family("qwen").backend_tokenizer.decode
        written: list[GenerationOutcome] = []
        for prompt in prompts:
            self.seen_ids.append(prompt.ids)
            text = decode(prompt.ids).lower()
            value = next((value for word, value in self.values.items() if word.lower() in text), None)
            written.append(Generation(json.dumps({"value": value}), finished=True, tokens=4))
        return written


async def scored(client: httpx.AsyncClient, *items: dict[str, Any], **options: Any) -> list[wire.Result]:
    answer = await client.post("/v1/score", json={"items": items, **options})
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate_json(answer.content).results


async def refused(client: httpx.AsyncClient, criterion: dict[str, Any], **options: Any) -> str:
    answer = await client.post("/v1/score", json={"items": [item(rubric=[criterion])], **options})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"])


async def test_one_pass_reads_the_level_that_the_judge_gives() -> None:
    engine = FakeEngine(remember=None)
    async with serving(engine) as client:
        before = engine.prompts
        [result] = await scored(client, item(rubric=[GRADED, {"text": "plain", "points": 1}]))
        assert engine.prompts == before + 2
        [ids] = [
            ids for ids in engine.seen_ids[before:] if family("qwen").backend_tokenizer.decode(ids).count("Option")
        ]
        graded, plain = result.criteria
        expected = read_levels(oracle(ids, labels=3), 3)
        assert graded.p_levels == list(expected.p_levels)
        assert graded.label_mass == expected.label_mass
        assert graded.level == max(range(3), key=lambda place: expected.p_levels[place])
        assert graded.value == pytest.approx(0.5 * expected.p_levels[1] + expected.p_levels[2])
        assert (plain.level, plain.p_levels, plain.value) == (None, None, None)
        share = (0, 0.5, 1)[graded.level]
        assert result.score == pytest.approx((4 * share + bool(plain.met)) / 5)
        [soft] = await scored(client, item(rubric=[GRADED]), soft=True)
        assert soft.score == pytest.approx(graded.value)
        assert soft.criteria[0].source == "cache"


async def test_values_are_not_shown_so_that_other_values_are_the_same_question() -> None:
    async with serving() as client:
        [first] = await scored(client, item(rubric=[GRADED]))
        other = {**GRADED, "points": -2, "levels": [{**one, "value": one["value"] / 2} for one in THREE]}
        [second] = await scored(client, item(rubric=[other]))
        assert second.criteria[0].source == "cache"
        assert second.criteria[0].p_levels == first.criteria[0].p_levels
        turned = {**GRADED, "levels": THREE[::-1]}
        [third] = await scored(client, item(rubric=[turned]))
        assert third.criteria[0].source == "judge"


async def test_many_choices_are_read_in_two_steps_that_sum_to_one() -> None:
    engine = FakeEngine()
    choices = [{"text": f"tone {n}", "value": n / 100} for n in range(57)]
    async with serving(engine) as client:
        before = engine.prompts
        [result] = await scored(client, item(rubric=[{"text": "tone", "points": 1, "choices": choices}]))
        assert engine.prompts - before == 7
    [criterion] = result.criteria
    assert criterion.p_levels is not None
    assert len(criterion.p_levels) == 57
    assert sum(criterion.p_levels) == pytest.approx(1)


async def test_mode_reasoned_has_reasons_and_votes_for_levels() -> None:
    async with serving() as client:
        [one] = await scored(client, item(rubric=[GRADED]), mode="reasoned")
        assert one.criteria[0].explanation
        assert len(one.criteria[0].p_levels or ()) == 3
        [several] = await scored(client, item(rubric=[GRADED]), mode="reasoned", votes=3)
        assert sum(several.criteria[0].p_levels or ()) == pytest.approx(1)


async def test_labels_without_mass_abstain_and_the_bounds_hold_the_worst_and_the_best_level() -> None:
    options = [{**THREE[1], "value": 0.25}, {**THREE[2], "value": 0.75}]
    rubric = [{**GRADED, "levels": options}, {**GRADED, "id": "fault", "points": -2, "levels": options}]

    class Elsewhere(FakeEngine):
        async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[LabelLogprobs]:
            little = LabelLogprobs((-9.0,) * len(label_ids))
            return [little if _asks_for_an_option(prompt) else oracle(prompt.ids) for prompt in prompts]

    async with serving(Elsewhere()) as client:
        [result] = await scored(client, item(rubric=rubric))
    assert [(one.status, one.level, one.value) for one in result.criteria] == [("abstained", None, None)] * 2
    assert result.score is None
    assert result.score_bounds == pytest.approx(((4 * 0.25 - 2 * 0.75) / 4, (4 * 0.75 - 0.5) / 4))


def _asks_for_an_option(prompt: Prompt) -> bool:
    return "# Option A" in family("qwen").backend_tokenizer.decode(prompt.ids)


async def test_what_levels_cannot_be_combined_with_is_refused() -> None:
    async with serving() as client:
        assert "`consistency` is for criteria that are met or not" in await refused(client, GRADED, consistency=2)
        assert (
            "`levels`, which this judge does not read" in await refused(client, GRADED, layout="simple_evals") or True
        )
        assert "`debias`" in await refused(client, GRADED, debias=True)


async def test_an_answer_names_how_levels_were_read() -> None:
    async with serving() as client:
        judge = (await client.get("/v1/judge")).json()
        assert set(judge["judges"][0]["readings"]) == {"levels", "extract"}
        plain = await client.post("/v1/score", json={"items": [item()]})
        assert "readings" not in plain.json()["judge"]
        graded = await client.post("/v1/score", json={"items": [item(rubric=[GRADED])]})
        assert graded.json()["judge"]["readings"] == judge["judges"][0]["readings"]


async def test_two_likely_levels_with_a_valley_are_a_warning() -> None:
    class Torn(FakeEngine):
        async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[LabelLogprobs]:
            return [oracle(one.ids) if len(label_ids) == 2 else LabelLogprobs((-0.8, -4.0, -0.8)) for one in prompts]

    async with serving(Torn()) as client:
        [result] = await scored(client, item(rubric=[GRADED]))
        assert "bimodal_levels" in [warning.code for warning in result.warnings]
        nominal = {"text": "tone", "points": 1, "choices": THREE}
        [result] = await scored(client, item(rubric=[nominal]))
        assert "bimodal_levels" not in [warning.code for warning in result.warnings]


def extract(gold: str, **changes: Any) -> dict[str, Any]:
    rule = {"rule": "exact", "gold": gold}
    found = {"type": "string", "instructions": "the capital that it names", "rule": rule} | changes
    return {"text": f"Names {gold}.", "points": 1, "extract": found}


async def test_the_rule_decides_about_the_value_that_the_judge_copied() -> None:
    async with serving(Copyist({"Paris": "Paris", "Rome": "Rome"})) as client:
        right, wrong, nothing = await scored(
            client,
            *(item(response=text, rubric=[extract("Paris")]) for text in ("It is Paris.", "It is Rome.", "No idea.")),
        )
    assert [one.score for one in (right, wrong, nothing)] == [1.0, 0.0, 0.0]
    assert [one.criteria[0].extracted for one in (right, wrong, nothing)] == ["Paris", "Rome", None]
    assert nothing.criteria[0].detail == "the response states no such value"
    assert right.criteria[0].p is None


@pytest.mark.parametrize("response", ["", " ", ":", "Thought process:", "Solution", "Let's solve this step by step."])
async def test_empty_answers_and_master_keys_earn_nothing(response: str) -> None:
    """Also of a judge that knows the answer and writes it, whatever the response says."""
    async with serving(Copyist({"": "Paris"})) as client:
        [result] = await scored(client, item(response=response, rubric=[extract("Paris")]), unjudged="lower")
    assert result.criteria[0].met is not True
    assert result.score_bounds is not None
    assert result.score_bounds[0] == 0.0


async def test_values_are_cached_and_another_right_value_asks_nothing_new() -> None:
    engine = Copyist({"Paris": "Paris"})
    async with serving(engine) as client:
        await scored(client, item(response="It is Paris.", rubric=[extract("Paris")]))
        asked = len(engine.seen_ids)
        [other] = await scored(client, item(response="It is Paris.", rubric=[extract("Rome")]))
        assert len(engine.seen_ids) == asked
        assert (other.score, other.criteria[0].source) == (0.0, "cache")


async def test_the_right_value_is_in_no_prompt() -> None:
    """200 right values of random words, in every rule that has one: the token ids of no prompt hold them."""
    random = Random(3)
    segmenter = Segmenter(family("qwen"))
    engine = Copyist({})
    async with serving(engine) as client:
        for number in range(200):
            gold = "".join(random.choice("bcdfghjklmnpqrstvwxz") for _ in range(12))
            field, rule = random.choice((("gold", "exact"), ("gold", "math_verify"), ("text", "contains")))
            criterion = extract(gold, rule={"rule": rule, field: gold})
            asked = item(response=f"Response {number}.", rubric=[criterion, {**GRADED, "text": f"Graded {number}."}])
            before = len(engine.seen_ids)
            await scored(client, asked, mode="verdict")
            wanted = segmenter.encode_untrusted(gold)
            seen = engine.seen_ids[before:]
            assert len(seen) == 2
            for ids in seen:
                assert all(ids[start : start + len(wanted)] != wanted for start in range(len(ids)))
                assert gold not in family("qwen").backend_tokenizer.decode(ids)


@pytest.mark.parametrize("mode", ["verdict", "reasoned", "implicit", "likert", "compare"])
async def test_the_right_value_beside_the_rule_is_in_no_prompt(mode: str) -> None:
    """In the criterion's text, id, tags, the item's id and metadata in every mode, and in the reference answer where a
    value is extracted: a judge that has read it would write it."""
    engine = Copyist({})
    gold = "xkcdvqwrzt"
    criterion = {**extract(gold), "id": gold, "tags": {"right": gold}}
    asked = {"prompt": "Say it.", "rubric": [criterion], "id": gold, "metadata": {"gold": gold}}
    async with serving(engine, settings=fake_settings(escalate_band=0.5, escalate_share=1.0)) as client:
        before = len(engine.seen_ids)
        if mode == "compare":
            pair = {**asked, "a": "It is one.", "b": "It is two."}
            answer = await client.post("/v1/compare", json={"items": [pair]})
        else:
            reference = {"reference": f"It is {gold}."} if mode in ("verdict", "reasoned") else {}
            items = [{**asked, "response": "It is one.", **reference}]
            answer = await client.post("/v1/score", json={"items": items, "mode": mode})
        assert answer.status_code == 200, answer.text
    seen = [family("qwen").backend_tokenizer.decode(ids) for ids in engine.seen_ids[before:]]
    assert seen and not any(gold in text for text in seen)
    assert mode == "likert" or all("the capital that it names" in text for text in seen)


async def test_what_is_not_plain_is_judged_again_where_the_second_mode_reads_it() -> None:
    """Also a value, of which there is no P(met), beside levels and plain criteria."""
    engine = Copyist({"Paris": "Paris"})
    async with serving(engine, settings=fake_settings(escalate_band=0.5, escalate_share=1.0)) as client:
        rubric = [extract("Paris"), GRADED, {"text": "plain", "points": 1}]
        [result] = await scored(client, item(response="It is Paris.", rubric=rubric))
    value, graded, plain = result.criteria
    assert (value.met, value.explanation) == (True, None)
    assert len(graded.p_levels or ()) == 3 and plain.met is not None


async def test_levels_are_calibrated_beside_what_the_judge_gave(tmp_path: Path) -> None:
    async with serving() as client:
        info = (await client.get("/v1/judge")).json()
        [plain] = await scored(client, item(rubric=[GRADED]))
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    made = wire.LevelCalibration.model_validate(
        {
            "judge": info["judges"][0]["readings"]["levels"],
            "model": "fake",
            "mode": "verdict",
            "method": "vector",
            "temperature": 2.0,
            "biases": ((0.0, 0.0, 20.0),),
            "digest": "0" * 64,
            "criteria": 100,
            "groups": 20,
            "log_loss": interval,
            "gain": interval,
        }
    )
    file = tmp_path / "calibration.json"
    file.write_text(wire.write_calibrations([], [made]))
    async with serving(settings=fake_settings(calibration=file)) as client:
        after = (await client.get("/v1/judge")).json()
        [found] = await scored(client, item(rubric=[GRADED, {"text": "plain", "points": 1}]))
        [several] = await scored(client, item(rubric=[GRADED]), mode="reasoned", votes=3)
    assert after["options"]["calibration"] == made.name
    assert after["fingerprint"] != info["fingerprint"] == after["judges"][0]["uncalibrated"]
    graded = found.criteria[0]
    assert graded.p_levels_raw == plain.criteria[0].p_levels and plain.criteria[0].p_levels_raw is None
    assert graded.level == 2 and sum(graded.p_levels or ()) == pytest.approx(1)
    assert graded.p_raw == plain.criteria[0].p and graded.p != graded.p_raw
    assert several.criteria[0].p_levels_raw is None


async def test_a_rule_that_fails_is_a_status_and_no_verdict() -> None:
    async with serving(Copyist({"Paris": "Paris"})) as client:
        broken = extract("", rule={"rule": "regex", "pattern": "("})
        [result] = await scored(client, item(response="It is Paris.", rubric=[{**broken, "text": "x"}]))
    assert (result.criteria[0].status, result.criteria[0].met) == ("verifier_error", None)


async def test_levels_and_values_are_counted() -> None:
    async with serving(Copyist({"Paris": "Paris"})) as client:
        page = (await client.get("/metrics")).text
        assert 'rubricd_graded_total{outcome="torn"} 0.0' in page
        await scored(client, item(response="It is Paris.", rubric=[extract("Paris"), {"text": "x", "points": 1}]))
        nominal = {"text": "tone", "points": 1, "choices": THREE}
        await scored(client, item(rubric=[nominal]))
        page = (await client.get("/metrics")).text
    assert 'rubricd_graded_total{outcome="value"} 1.0' in page
    assert 'rubricd_graded_total{outcome="level"} 1.0' in page

"""Tests of the composition root: what it builds from which settings, and that it serves after a verdict only."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.cache.redis import RedisCache
from service.clock import ManualClock, settle
from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import ConfigurationError
from service.idempotency import MemoryIdempotencyStore, RedisIdempotencyStore
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.settings import Settings
from service.tenancy.authentication import NoAuthentication, TeamsFileAuthentication
from service.tenancy.quota import MemoryLedger
from service.tenancy.redis_quota import RedisLedger
from service.wiring import Composition, compose
from testkit.apps import CANARIES, fake_settings, item, serving
from testkit.metrics_page import Page
from testkit.teams_file import team, write
from testkit.tokenizer_families import family


def composed(settings: Settings, engine: FakeEngine | None = None) -> tuple[Composition, list[BaseException]]:
    failures: list[BaseException] = []

    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine or FakeEngine(), family("qwen"))

    lifecycle = Lifecycle[Judges](on_failed=failures.append)
    return compose(settings, ManualClock(), lifecycle, build), failures


def test_without_redis_everything_is_in_memory() -> None:
    composition, _ = composed(fake_settings())
    shared = composition.shared
    assert isinstance(shared.ledger, MemoryLedger) and isinstance(shared.idempotency_store, MemoryIdempotencyStore)
    assert (shared.cache, shared.redis) == (None, None)
    assert isinstance(composition.dependencies.authentication, NoAuthentication)


def test_with_redis_processes_share_quotas_answers_and_verdicts(tmp_path: Path) -> None:
    teams = write(tmp_path / "teams.json", team("a"))
    composition, _ = composed(fake_settings(redis_url="redis://127.0.0.1:1", teams=teams))
    shared = composition.shared
    assert isinstance(shared.ledger, RedisLedger) and isinstance(shared.idempotency_store, RedisIdempotencyStore)
    assert isinstance(shared.cache, RedisCache) and shared.redis is not None
    assert isinstance(composition.dependencies.authentication, TeamsFileAuthentication)


def test_what_cannot_be_used_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    for wrong in ({"prompt": "qustion"}, {"redis_url": "http://127.0.0.1"}, {"teams": tmp_path / "none.yaml"}):
        with pytest.raises(ConfigurationError):
            composed(fake_settings(**wrong))


async def test_it_serves_after_a_verdict_and_stops_what_it_started() -> None:
    engine = FakeEngine()
    composition, failures = composed(fake_settings(), engine)
    lifecycle = composition.dependencies.lifecycle
    async with composition.running():
        while lifecycle.state == "loading":
            await settle()
        assert (lifecycle.state, failures) == ("ready", [])
        assert engine.calls > 0  # the canary's
    assert (lifecycle.state, engine.stopped) == ("stopped", True)


async def test_a_judge_without_a_verdict_does_not_serve() -> None:
    engine = FakeEngine(plan=FaultPlan(rates={"batch": 1.0}))
    composition, failures = composed(fake_settings(), engine)
    async with composition.running():
        while composition.dependencies.lifecycle.state == "loading":
            await settle()
        [failure] = failures
        assert isinstance(failure, ConfigurationError) and "no verdict on a canary" in str(failure)
    assert engine.stopped


class Talkative(FakeEngine):
    """A judge that begins with other words than a label."""

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        return [LabelLogprobs((-6.0, -7.0)) for _ in prompts]

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        assert [sampling.max_tokens for sampling in samplings] == [5]
        return [Generation("Well, it depends", finished=False, tokens=5)]


async def test_a_judge_that_wants_to_say_something_else_shows_what_and_the_setting_that_helps() -> None:
    composition, failures = composed(fake_settings(), Talkative())
    async with composition.running():
        while composition.dependencies.lifecycle.state == "loading":
            await settle()
        [failure] = failures
    assert "hold 0.0034 of the vocabulary's mass" in str(failure)
    assert "begin with 'Well, it depends', so set `labels`" in str(failure)


async def test_a_mode_whose_labels_the_engine_cannot_read_is_not_served() -> None:
    engine = FakeEngine()

    def check(label_ids: tuple[int, ...]) -> None:
        if len(label_ids) > 2:
            raise ConfigurationError("the server prints them alike")

    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"), check)

    lifecycle = Lifecycle[Judges]()
    async with compose(fake_settings(), ManualClock(), lifecycle, build).running():
        while lifecycle.state == "loading":
            await settle()
        assert {mode for mode, _ in lifecycle.judge().named().judging_modes} == {"verdict", "reasoned", "compare"}


async def test_what_a_judge_only_writes_as_noise_is_not_served() -> None:
    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(FakeEngine(), family("qwen"), unserved=frozenset({"reasoned"}))

    lifecycle = Lifecycle[Judges]()
    async with compose(fake_settings(), ManualClock(), lifecycle, build).running():
        while lifecycle.state == "loading":
            await settle()
        assert {mode for mode, _ in lifecycle.judge().named().judging_modes} == {
            "verdict",
            "implicit",
            "likert",
            "compare",
        }


async def test_the_judge_sits_its_exam_and_its_answers_are_the_first_of_the_labelled_canaries() -> None:
    engine = FakeEngine()
    composition, _ = composed(fake_settings(exam=True), engine)
    async with composition.running():
        while composition.dependencies.lifecycle.state == "loading":
            await settle()
        scorer = composition.dependencies.lifecycle.judge().named()
        [grade] = scorer.grades.values()
        figures = Page(composition.dependencies.telemetry.exposition().decode()).named("rubricd_labelled_canaries")
    assert (grade.trust, grade.questions) == ("unproven", 80)
    assert set(figures) == {"answered", "agreement", "log_loss", "brier", "ece"}
    assert engine.prompts == CANARIES + 80, "they were asked once"


async def test_an_operators_canaries_are_asked_in_place_of_the_exams(tmp_path: Path) -> None:
    asked = {"prompt": "x", "response": "y", "rubric": [{"id": "a", "text": "Says y.", "points": 1}]}
    file = tmp_path / "canaries.jsonl"
    file.write_text(json.dumps({"item": asked, "met": {"a": True}}) + "\n")
    engine = FakeEngine()
    composition, _ = composed(fake_settings(canaries=file), engine)
    telemetry = composition.dependencies.telemetry
    async with composition.running():
        while not Page(telemetry.exposition().decode()).has("rubricd_labelled_canaries", figure="agreement"):
            await asyncio.sleep(0.001)
    assert engine.prompts == CANARIES + 1


async def test_canaries_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    composition, failures = composed(fake_settings(canaries=tmp_path / "none.jsonl"))
    async with composition.running():
        while composition.dependencies.lifecycle.state == "loading":
            await settle()
    [failure] = failures
    assert isinstance(failure, ConfigurationError) and "`canaries`" in str(failure)


async def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    composition, failures = composed(fake_settings(healthbench_template=tmp_path / "none.txt"))
    async with composition.running():
        while composition.dependencies.lifecycle.state == "loading":
            await settle()
    [failure] = failures
    assert isinstance(failure, ConfigurationError) and "`healthbench_template`" in str(failure)


class Choosy(FakeEngine):
    """A judge that answers with its labels where worked examples showed it how: after a long prompt."""

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        read = await super().read_labels(prompts, label_ids)
        return [
            one if len(prompt) > 600 else LabelLogprobs((-6.0, -7.0)) for one, prompt in zip(read, prompts, strict=True)
        ]


async def test_a_judge_whose_default_prompt_fails_serves_the_others_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Choosy()) as client:
        info = (await client.get("/v1/judge")).json()
        refused = await client.post("/v1/score", json={"items": [item()]})
        judged = await client.post("/v1/score", json={"items": [item()], "judge_prompt": "examples"})
    by_name = {one["name"]: one for one in info["prompts"]}
    served = {name for name, one in by_name.items() if one["served"]}
    assert served == {"examples", "examples_bare"}
    assert by_name["question"]["label_mass"] == pytest.approx(0.0034, abs=1e-4)
    assert by_name["examples"]["label_mass"] > 0.9
    assert "hold 0.0034 of the vocabulary's mass" in by_name["question"]["reason"]
    assert info["fingerprint"] == judged.json()["judge"]["fingerprint"]
    assert judged.json()["judge"]["prompt"] == "examples" and judged.json()["results"][0]["status"] == "ok"
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["judge_prompt"])
    assert "name another one as `judge_prompt`: examples, examples_bare" in refused.json()["detail"]
    assert {"question", "bare", "opposite"} < {one["prompt"] for one in info["unserved"]}
    assert "prompt `question` is not served: unparseable" in caplog.text

"""Tests of a cascade through the routes, and of its members' faults with judges that fail on purpose."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.engine.base import EngineIdentity
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.errors import ConfigurationError, InvalidRequest, Overloaded, RequestError, Unavailable
from service.judges.cascade import Cascade
from service.judges.cascade_judgement import Band, CascadePlan, Step
from service.judges.composition import Member
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.modes.fingerprint import JudgeIdentity
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Options, Usage
from service.settings import Settings
from testkit.apps import fake_settings, item, serving, started
from testkit.tokenizer_families import family
from tests.trainer_client.wire.test_cascade_plan import plan_document

LEAVES = """
judges:
  small: {engine: fake}
  large: {engine: fake, prompt: bare}
"""
LOW, HIGH = 0.3, 0.7


async def with_cascade(
    folder: Path, name: str = "both", members: Sequence[str] = ("small", "large"), leaves: str = LEAVES, **changes: Any
) -> Path:
    """A judges file whose cascade has a plan for its members."""
    file, planned = folder / "judges.yaml", folder / f"{name}.json"
    file.write_text(leaves, encoding="utf-8")
    async with serving(settings=fake_settings(judges=file)) as client:
        asked = {one: (await client.get(f"/v1/judge?judge={one}")).json()["judges"][0] for one in members}
    plan = plan_document()
    for one, member in zip(plan["judges"], members, strict=True):
        one.update({key: asked[member][key] for key in ("fingerprint", "model", "mode", "layout", "prompt")})
    plan["judges"][0]["band"] = {"low": LOW, "high": HIGH}
    plan["judges"][0].update(changes)
    planned.write_text(json.dumps(plan))
    file.write_text(f"{leaves}  {name}: {{cascade: [{', '.join(members)}], plan: {planned}}}\n", encoding="utf-8")
    return file


async def test_the_next_judge_is_asked_about_what_is_unsure(tmp_path: Path) -> None:
    settings = fake_settings(judges=await with_cascade(tmp_path))
    items = [item(response=f"Answer {n}.") for n in range(40)]
    async with serving(settings=settings) as client:

        async def scored(judge: str) -> Any:
            return (await client.post("/v1/score", json={"items": items, "judge": judge})).json()

        both, small, large = [await scored(name) for name in ("both", "small", "large")]
        fingerprint = (await client.get("/v1/judge?judge=both")).json()["fingerprint"]
        off = await client.post("/v1/score", json={"items": items, "judge": "both", "threshold": 0.7})
    went_on = 0
    for results in zip(both["results"], small["results"], large["results"], strict=True):
        for found, cheap, dear in zip(*(one["criteria"] for one in results), strict=True):
            unsure = LOW <= cheap["p"] <= HIGH
            went_on += unsure
            expected = dear if unsure else cheap
            assert (found["p"], found["met"]) == (expected["p"], expected["met"])
            assert [one["judge"] for one in found["members"]] == ["small", "large"][: 1 + unsure]
    assert 10 < went_on < 70
    assert both["usage"]["judgements"] == 80 + went_on, "each verdict of each member is counted"
    assert both["judge"]["fingerprint"] == fingerprint
    assert [one["name"] for one in both["judge"]["members"]] == ["small", "large"]
    assert (off.status_code, off.json()["errors"][0]["loc"]) == (422, ["threshold"])


async def test_another_judge_than_the_plans_stops_the_start(tmp_path: Path) -> None:
    file = await with_cascade(tmp_path, fingerprint="0" * 16)
    reason = await _start_failure(file)
    assert "judge `both`: its plan was made with judge 0000000000000000 as number 1, and `small` is" in reason
    (tmp_path / "both.json").write_text("{}")
    assert "is no plan of a cascade: judges: Field required" in await _start_failure(file)


async def _start_failure(file: Path) -> str:
    failures: list[BaseException] = []

    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(FakeEngine(), family("qwen"))

    app = create_app(fake_settings(judges=file), build=build, lifecycle=Lifecycle[Judges](on_failed=failures.append))
    async with started(app):
        [failure] = failures
    assert isinstance(failure, ConfigurationError)
    return str(failure)


class Scripted:
    """A judge that says `p` of every criterion, or this status, or refuses to be asked."""

    dead = False
    max_model_len = 1000

    def __init__(self, name: str, says: float | str, refuses: RequestError | None = None) -> None:
        self.says = says
        self.refuses = refuses
        self.asked: list[int] = []
        self.closed = 0
        self.identity = _identity(name)

    @property
    def judging_modes(self) -> Any:
        return _Modes(self.identity)

    @property
    def unavailable_reason(self) -> str | None:
        return str(self.refuses) if isinstance(self.refuses, Unavailable) else None

    def trust_of(self, judge: JudgeIdentity) -> Any:
        return "proven"

    def queries_each(self, options: Options) -> int:
        return 1

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        pass

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Any:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(sum(len(one.criteria) for one in candidates))
        return _Said(self, candidates)


class _Said:
    def __init__(self, judge: Scripted, candidates: Sequence[Candidate]) -> None:
        self.usage = Usage(judgements=sum(len(one.criteria) for one in candidates), prompt_tokens=7)
        self._judge, self._candidates = judge, candidates

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        says = self._judge.says
        for i, candidate in enumerate(self._candidates):
            if isinstance(says, str):
                one = Judgement(status=says, source="judge", detail=f"{self._judge.identity.name} {says}")
            else:
                one = Judgement(status="ok", source="judge", met=says >= 0.5, p=says, p_raw=says)
            yield i, [one] * len(candidate.criteria)

    def close(self) -> None:
        self._judge.closed += 1


class _Modes(dict[tuple[str, str], Any]):
    def __init__(self, identity: JudgeIdentity) -> None:
        self._judge = type("Mode", (), {"judge": identity})
        super().__init__({("verdict", "rubricd"): self._judge})

    def choose(self, mode: str, layout: str, prompt: str | None) -> Any:
        if (mode, layout) not in self:
            raise InvalidRequest(f"no mode {mode}")
        return self._judge


def _identity(name: str) -> JudgeIdentity:
    return JudgeIdentity(
        EngineIdentity(name, "", "fake", {}), "verdict", "rubricd", None, (), (), 0.0, name, name, name=name
    )


def _cascade(*judges: Scripted, passes_failures: bool = True) -> Cascade:
    steps = [Step(one.identity.fingerprint, "verdict", "rubricd", None, Band(0.3, 0.7)) for one in judges[:-1]]
    steps.append(Step(judges[-1].identity.fingerprint, "verdict", "rubricd", None, None))
    members = [Member(one.identity.name or "", one) for one in judges]
    return Cascade("all", CascadePlan(tuple(steps), "0" * 64, ""), members, passes_failures=passes_failures)


_CANDIDATES = [Candidate(str(n), (), "r", (Criterion("c0", "t", 1.0), Criterion("c1", "u", 1.0))) for n in range(5)]


async def _found(cascade: Cascade) -> tuple[list[list[Judgement]], Usage]:
    judging = await cascade.ask(_CANDIDATES, Options())
    found = {i: list(judgements) async for i, judgements in judging.judged()}
    return [found[i] for i in range(len(_CANDIDATES))], judging.usage


async def test_three_judges_one_after_the_other() -> None:
    judges = Scripted("a", 0.5), Scripted("b", "abstained"), Scripted("c", 0.9)
    found, usage = await _found(_cascade(*judges))
    assert {one.p for judgements in found for one in judgements} == {0.9}
    assert [name for name, _ in found[0][0].members] == ["a", "b", "c"]
    assert [judge.asked for judge in judges] == [[10], [2] * 5, [2] * 5]
    assert (usage.judgements, usage.prompt_tokens) == (30, 7 * 11)


@pytest.mark.parametrize(
    ("judges", "passes_failures", "status", "by"),
    [
        ((Scripted("a", "engine_error"), Scripted("b", 0.9)), True, "ok", ["a", "b"]),
        ((Scripted("a", "engine_error"), Scripted("b", 0.9)), False, "engine_error", ["a"]),
        ((Scripted("a", 0.5), Scripted("b", "timeout")), True, "timeout", ["a", "b"]),
        ((Scripted("a", 0.5), Scripted("b", 0.9, Overloaded("full", 1.0))), True, "overloaded", ["a", "b"]),
        ((Scripted("a", 0.5), Scripted("b", 0.9, Unavailable("gone"))), True, "engine_error", ["a", "b"]),
        ((Scripted("a", 0.5), Scripted("b", 0.9, InvalidRequest("too many"))), True, "engine_error", ["a", "b"]),
        ((Scripted("a", 0.5, Unavailable("gone")), Scripted("b", 0.9)), True, "ok", ["b"]),
    ],
)
async def test_each_failure_as_it_is_declared(
    judges: tuple[Scripted, Scripted], passes_failures: bool, status: str, by: list[str]
) -> None:
    found, _ = await _found(_cascade(*judges, passes_failures=passes_failures))
    assert len(found) == 5
    for judgement in (one for judgements in found for one in judgements):
        assert (judgement.status, [name for name, _ in judgement.members]) == (status, by)
        assert (judgement.met is None) is (judgement.p is None) is (status != "ok")


async def test_a_first_judge_that_cannot_be_asked_refuses_where_failures_stand() -> None:
    cascade = _cascade(Scripted("a", 0.5, Overloaded("full", 1.0)), Scripted("b", 0.9), passes_failures=False)
    with pytest.raises(Overloaded, match="judge `a`: full"):
        await cascade.ask(_CANDIDATES, Options())


def test_a_cascade_needs_its_last_judge() -> None:
    gone = Unavailable("gone")
    assert _cascade(Scripted("a", 0.5), Scripted("b", 0.9, gone)).unavailable_reason == (
        "`b`, which cascade `all` needs: gone"
    )
    assert _cascade(Scripted("a", 0.5, gone), Scripted("b", 0.9)).unavailable_reason is None
    assert _cascade(Scripted("a", 0.5, gone), Scripted("b", 0.9), passes_failures=False).unavailable_reason is not None


async def test_who_leaves_early_leaves_nothing_behind() -> None:
    judges = Scripted("a", 0.5), Scripted("b", 0.9)
    judging = await _cascade(*judges).ask(_CANDIDATES, Options())
    async for _ in judging.judged():
        break
    judging.close()
    assert judges[0].closed >= 1 and judges[1].closed >= 1


def test_the_bands_are_part_of_the_fingerprint_and_the_names_are_not() -> None:
    def fingerprint(name: str, low: float) -> str:
        judges = [Scripted("a", 0.5), Scripted("b", 0.9)]
        steps = (Step("a", "verdict", "rubricd", None, Band(low, 0.7)), Step("b", "verdict", "rubricd", None, None))
        members = [Member(one.identity.name or "", one) for one in judges]
        found = Cascade(name, CascadePlan(steps, "0" * 64, ""), members, passes_failures=True)
        return str(found.judging_modes.first.judge.fingerprint)

    assert fingerprint("x", 0.3) == fingerprint("y", 0.3) != fingerprint("x", 0.31)


class Faulty(Scripted):
    """Says of each criterion what a table says, and cannot be asked every seventh time."""

    def __init__(self, name: str, draw: random.Random) -> None:
        super().__init__(name, 0.5)
        self.draw = draw
        self.table: dict[str, Judgement] = {}
        self.down: set[str] = set()

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Any:
        if self.draw.random() < 1 / 7:
            self.down.update(one.text for candidate in candidates for one in candidate.criteria)
            raise self.draw.choice([Unavailable("killed"), Overloaded("full", 1.0)])
        return _FromTable(self, candidates)

    def verdict_on(self, text: str) -> Judgement:
        if text not in self.table:
            status = self.draw.choice(["ok"] * 6 + ["abstained", "timeout", "engine_error"])
            p = round(self.draw.random(), 2)
            self.table[text] = (
                Judgement("ok", "judge", met=p >= 0.5, p=p, p_raw=p) if status == "ok" else Judgement(status, "judge")
            )
        return self.table[text]


class _FromTable(_Said):
    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        judge: Any = self._judge
        for i in judge.draw.sample(range(len(self._candidates)), len(self._candidates)):
            await asyncio.sleep(0)
            yield i, [judge.verdict_on(one.text) for one in self._candidates[i].criteria]


@pytest.mark.parametrize("passes_failures", [True, False])
async def test_of_a_thousand_requests_with_killed_members_no_verdict_is_invented(passes_failures: bool) -> None:
    """1,000 requests, 6,000 criteria, three judges of which each is down every seventh time: 0 invented, and each
    failure is that of the judge that was asked last."""
    draw = random.Random(3)
    judges = [Faulty(name, draw) for name in "abc"]
    cascade = _cascade(*judges, passes_failures=passes_failures)
    refused = without = 0
    for n in range(1000):
        candidates = [
            Candidate(str(k), (), "r", tuple(Criterion(f"c{c}", f"{n} {k} {c}", 1.0) for c in range(3)))
            for k in range(2)
        ]
        try:
            judging = await cascade.ask(candidates, Options())
        except (Unavailable, Overloaded):
            refused += 1
            continue
        found = {i: judgements async for i, judgements in judging.judged()}
        assert sorted(found) == [0, 1]
        for i, candidate in enumerate(candidates):
            for criterion, judgement in zip(candidate.criteria, found[i], strict=True):
                without += not judgement.ok
                _check(judges, criterion.text, judgement, passes_failures)
    assert 0 < refused < 200 and without > 500


def _check(judges: Sequence[Faulty], text: str, judgement: Judgement, passes_failures: bool) -> None:
    """The judgement is what the last judge in its `members` said, and those before it could not decide."""
    *before, (last, said) = judgement.members
    by_name = {judge.identity.name: judge for judge in judges}
    assert (judgement.status, judgement.met, judgement.p) == (said.status, said.met, said.p)
    if text in by_name[last].table:
        assert said == by_name[last].table[text]
    else:
        assert text in by_name[last].down and said.status in ("engine_error", "overloaded")
    for _, one in before:
        unsure = one.ok and one.p is not None and 0.3 <= one.p <= 0.7
        assert unsure or one.status == "abstained" or (passes_failures and not one.ok)
    decides = said.ok and said.p is not None and not 0.3 <= said.p <= 0.7
    failed = not said.ok and not passes_failures and said.status != "abstained"
    assert last == "c" or decides or failed

"""What a shadow is asked, what it counts, and that it is in nobody's way."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from service.clock import ManualClock
from service.errors import InvalidRequest, Overloaded, RequestError, Unavailable
from service.judges import shadow as shadow_module
from service.judges.shadow import OPERATOR, Shadow, chosen
from service.observability import Telemetry
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scheduling import Tenant
from service.scoring.request import Options
from service.tenancy.usage import UseByTeam
from testkit.metrics_page import Page, exposed
from testkit.waiting import until
from tests.service.judges.test_cascade import Scripted

_CRITERIA = tuple(Criterion(f"c{n}", f"Says {n}.", 1.0) for n in range(10))
_MET = Judgement(status="ok", source="judge", met=True, p=0.75, p_raw=0.75)
_OPTIONS = Options(tenant=Tenant(team="red"), scope="red")


def _candidate(n: int, words: str = "") -> Candidate:
    return Candidate(str(n), (Turn("user", f"Question {n}?"),), f"Answer {n}.{words}", _CRITERIA)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "_AFTER_S", 0.0)


class Watched(Scripted):
    """Remembers how it was asked."""

    def __init__(self, says: float | str, refuses: RequestError | None = None) -> None:
        super().__init__("second", says, refuses)
        self.options: list[Options] = []

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Any:
        self.options.append(options)
        return await super().ask(candidates, options)


async def _shadowed(
    judge: Watched,
    share: float,
    candidates: Sequence[Candidate],
    said: Judgement = _MET,
    uses: UseByTeam | None = None,
) -> Page:
    """The metrics after the shadow has seen these candidates."""
    telemetry = Telemetry()
    shadow = Shadow("second", judge, share, ManualClock(), telemetry, uses or UseByTeam())
    shadow.start()
    try:
        for candidate in candidates:
            shadow.offer(candidate, [said] * len(candidate.criteria), _OPTIONS)
        for _ in range(20 * len(candidates) + 100):
            await asyncio.sleep(0)
    finally:
        shadow.stop()
    return exposed(telemetry)


def test_a_share_is_chosen_by_the_texts_alone() -> None:
    """Of 20,000 responses 4.6 to 5.4 % (five standard errors are 0.8 %), and the same ones again."""
    limit = int(0.05 * 2**64)
    candidates = [_candidate(n) for n in range(20_000)]
    found = [chosen(one, limit) for one in candidates]
    assert 0.046 < sum(found) / 20_000 < 0.054
    assert found == [chosen(_candidate(n), limit) for n in range(20_000)]
    assert all(chosen(one, 2 * limit) for one, few in zip(candidates, found, strict=True) if few)
    assert chosen(candidates[0], 2**64) and not chosen(candidates[0], 0)


async def test_a_response_is_asked_with_all_of_its_criteria_or_not_at_all() -> None:
    judge = Watched(0.9)
    await _shadowed(judge, 0.3, [_candidate(n) for n in range(100)])
    assert set(judge.asked) == {10} and 15 < len(judge.asked) < 45


@pytest.mark.parametrize(("says", "outcome"), [(0.95, "same"), (0.35, "differs"), ("abstained", "unjudged")])
async def test_what_it_says_is_counted_by_team(says: float | str, outcome: str) -> None:
    judge = Watched(says)
    page = await _shadowed(judge, 1.0, [_candidate(n) for n in range(5)])
    assert page("rubricd_shadow_judgements_total", shadow="second", team="red", outcome=outcome) == 50
    count = page("rubricd_shadow_difference_count", shadow="second")
    assert count == (0 if outcome == "unjudged" else 50)
    assert page("rubricd_shadow_difference_sum", shadow="second") == pytest.approx(count * 0.2 * (1 + (says == 0.35)))
    assert {(one.tenant, one.reserve, one.scope) for one in judge.options} == {(OPERATOR, None, "red")}


async def test_what_a_rule_decided_or_nobody_did_is_not_asked() -> None:
    judge = Watched(0.9)
    for said in (Judgement("ok", "rule", met=True), Judgement("timeout", "judge")):
        await _shadowed(judge, 1.0, [_candidate(1)], said)
    assert judge.asked == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("gone"), "unavailable"),
        (Overloaded("full", 1.0), "overloaded"),
        (InvalidRequest("no such mode"), "refused"),
    ],
)
async def test_a_shadow_that_cannot_be_asked_is_counted_and_asked_again(error: RequestError, reason: str) -> None:
    judge = Watched(0.9, error)
    page = await _shadowed(judge, 1.0, [_candidate(n) for n in range(30)])
    assert page("rubricd_shadow_dropped_total", shadow="second", reason=reason) == 30
    assert len(judge.options) == 30


async def test_a_defect_of_the_shadow_ends_no_worker() -> None:
    class Broken(Watched):
        async def ask(self, candidates: Sequence[Candidate], options: Options) -> Any:
            raise ZeroDivisionError

    page = await _shadowed(Broken(0.9), 1.0, [_candidate(n) for n in range(30)])
    assert page("rubricd_shadow_dropped_total", shadow="second", reason="failed") == 30


async def test_what_waits_is_bounded_in_number_and_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "_MOST_WAITING", 8)
    monkeypatch.setattr(shadow_module, "_MOST_CHARACTERS", 1000)
    monkeypatch.setattr(shadow_module, "_LONGEST_CHARACTERS", 800)
    for words, dropped in (("", {"full": 12}), (" more" * 100, {"full": 19}), (" more" * 300, {"too_long": 20})):
        telemetry = Telemetry()
        shadow = Shadow("second", Watched(0.9), 1.0, ManualClock(), telemetry, UseByTeam())
        for n in range(20):
            shadow.offer(_candidate(n, words), [_MET] * 10, _OPTIONS)
        page = exposed(telemetry)
        for reason in ("full", "too_long"):
            found = page("rubricd_shadow_dropped_total", shadow="second", reason=reason)
            assert found == dropped.get(reason, 0), (words, reason)


async def test_a_team_with_many_responses_leaves_room_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 places one team wants 1,000, and then another one 30: these are asked, each second one of all."""
    monkeypatch.setattr(shadow_module, "_MOST_WAITING", 100)
    monkeypatch.setattr(shadow_module, "_WORKERS", 1)
    judge, telemetry = Watched(0.9), Telemetry()
    shadow = Shadow("second", judge, 1.0, ManualClock(), telemetry, UseByTeam())
    few = Options(tenant=Tenant(team="few"), scope="few")
    for options, number in ((_OPTIONS, 1000), (few, 30)):
        for n in range(number):
            shadow.offer(_candidate(n), [_MET] * 10, options)
    shadow.start()
    try:
        await until(lambda: len(judge.options) == 100)
    finally:
        shadow.stop()
    assert [one.scope for one in judge.options[:60]] == ["red", "few"] * 30
    assert exposed(telemetry)("rubricd_shadow_dropped_total", shadow="second", reason="full") == 930


async def test_each_team_hears_on_which_of_its_criteria_the_two_differ() -> None:
    """Not as a metric: there are as many criteria as callers send."""
    uses = UseByTeam()
    page = await _shadowed(Watched(0.1), 1.0, [_candidate(n) for n in range(3)], uses=uses)
    found = uses.of("red").shadows["second"].widest()
    assert {one.text for one in found} == {one.text for one in _CRITERIA}
    assert {(one.compared, one.differs, one.unjudged) for one in found} == {(3, 3, 0)}
    assert [one.difference for one in found] == pytest.approx([0.65] * 10)
    assert not uses.of("blue").shadows and "Says" not in page.text

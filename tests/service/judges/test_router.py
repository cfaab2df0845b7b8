"""Tests of routed judges: which judge a criterion goes to, in which order results come, and rules beside them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine
from service.errors import InvalidRequest, Unavailable
from service.judges.composed_scorer import ComposedScorer
from service.judges.composition import Member
from service.judges.route_conditions import Condition
from service.judges.router import Router
from service.rubrics.rubric import Candidate, Option, Rule
from service.scoring.request import Options
from tests.service.judges.engines import candidate, members, truth


def mixed(response: str) -> Candidate:
    """Criteria 0 and 2 are tagged, 1 has a rule, 3 has nothing."""
    plain = candidate(response)
    tagged, ruled, other, last = plain.criteria
    return replace(
        plain,
        criteria=(
            replace(tagged, tags={"kind": "hard"}),
            replace(ruled, rule=Rule("contains", {"text": "Rest", "ignore_case": True})),
            replace(other, tags={"kind": "hard"}),
            last,
        ),
    )


async def test_a_criterion_is_judged_by_the_judge_of_its_route_and_by_no_other() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    async with members(engines, clock) as (found, rules):
        routed = ComposedScorer(Router("r", [Condition(tag="kind:hard")], [1, 0], found), rules, clock)
        asked = [mixed("Rest it."), candidate("Run.")]
        (first, second), usage = await routed.score(asked, Options())
        hard, plain, run = truth(found[1], asked[0], 1), truth(found[0], asked[0], 0), truth(found[0], asked[1], 0)
    assert [one.p for one in first.judgements] == [hard[0], 1.0, hard[2], plain[3]]
    assert [one.source for one in first.judgements] == ["judge", "rule", "judge", "judge"]
    assert [[name for name, _ in one.members] for one in first.judgements] == [["m1"], [], ["m1"], ["m0"]]
    assert [one.p for one in second.judgements] == run
    assert usage.judgements == 7 and [engine.prompts for engine in engines] == [5, 2]


async def test_a_judge_that_is_down_refuses_what_goes_to_it_and_nothing_else() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    engines[1].down = "it restarts"
    async with members(engines, clock) as (found, rules):
        routing = Router("r", [Condition(tag="kind:hard")], [1, 0], found)
        routed = ComposedScorer(routing, rules, clock)
        assert (routing.unavailable_reason, routing.down) == (None, [("m1", "it restarts")])
        [scored], _ = await routed.score([candidate()], Options())
        assert scored.score.status == "ok"
        with pytest.raises(Unavailable, match="judge `m1`: it restarts"):
            await routed.score([mixed("Rest it.")], Options())
        engines[0].down = "it was killed"
        assert routing.unavailable_reason == "no judge of `r` can judge: `m0`: it was killed; `m1`: it restarts"


async def test_a_request_of_rules_alone_asks_no_judge() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    only = mixed("Rest it.")
    only = replace(only, criteria=only.criteria[1:2])
    async with members(engines, clock) as (found, rules):
        routed = ComposedScorer(Router("r", [Condition(tag="kind")], [1, 0], found), rules, clock)
        [scored], usage = await routed.score([only], Options())
    assert (scored.score.value, usage.judgements) == (1.0, 0)
    assert [engine.prompts for engine in engines] == [0, 0]


class _PlainOnly:
    """A judge that reads no levels."""

    def __init__(self, judge: Any) -> None:
        self._judge = judge

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        for one in candidates:
            if any(criterion.graded for criterion in one.criteria):
                raise InvalidRequest("criterion has levels, which this judge does not read")


async def test_what_a_judge_cannot_be_asked_refuses_only_what_goes_to_it() -> None:
    """Levels go to the judge that reads them: the other one, which does not, has no part in them."""
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    plain = candidate("Rest it.")
    options = (Option("None.", 0.0), Option("All.", 1.0))
    tagged = replace(plain.criteria[0], tags={"kind": "hard"}, options=options)
    fits = replace(plain, criteria=(tagged, *plain.criteria[1:]))
    lost = replace(plain, criteria=(*plain.criteria[1:], replace(tagged, tags={})))
    async with members(engines, clock) as (found, rules):
        own = [Member("m0", _PlainOnly(found[0].judge)), found[1]]
        routing = Router("r", [Condition(tag="kind:hard")], [1, 0], own)
        routed = ComposedScorer(routing, rules, clock)
        [scored], _ = await routed.score([fits], Options())
        assert [[name for name, _ in one.members] for one in scored.judgements] == [["m1"], ["m0"], ["m0"], ["m0"]]
        assert scored.judgements[0].p_levels is not None and scored.score.status == "ok"
        before = [engine.prompts for engine in engines]
        with pytest.raises(InvalidRequest, match="judge `m0`: criterion has levels"):
            await routed.score([fits, lost], Options())
    assert [engine.prompts for engine in engines] == before, "refused before anybody is asked"


async def test_a_criterion_with_the_tags_of_two_routes_goes_to_the_first() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(3)]
    both = replace(candidate(), criteria=(replace(candidate().criteria[0], tags={"kind": "hard", "axis": "style"}),))
    async with members(engines, clock) as (found, rules):
        for conditions, wanted in (
            ([Condition(tag="kind:hard"), Condition(tag="axis")], "m1"),
            ([Condition(tag="axis"), Condition(tag="kind:hard")], "m1"),
            ([Condition(tag="axis:tone"), Condition(tag="kind")], "m2"),
            ([Condition(tag="kind:hard", longer_than=10_000), Condition(tag="axis:style")], "m2"),
        ):
            routed = ComposedScorer(Router("r", conditions, [1, 2, 0], found), rules, clock)
            [scored], _ = await routed.score([both], Options())
            assert [name for name, _ in scored.judgements[0].members] == [wanted]

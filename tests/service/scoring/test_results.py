"""What a group teaches: spreads of scores and of verdicts."""

import asyncio
import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from service.clock import settle
from service.engine.fake import FakeEngine
from service.rubrics.aggregation import Score
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Options
from service.scoring.results import Scored, by_group, criteria_spreads, spread
from tests.service.scoring.test_scorer import candidate, scoring

CRITERIA = (Criterion("0", "Says so.", 1.0), Criterion("1", "Says not.", -1.0))


def member(value: float | None, met: tuple[bool | None, ...] = (True, False), group: str | None = "g") -> Scored:
    judgements = tuple(Judgement("ok" if one is not None else "timeout", "judge", met=one) for one in met)
    criteria = CRITERIA[: len(met)]
    return Scored(Candidate("x", (), "", criteria, group=group), criteria, judgements, Score(value, None, 1.0, "ok"))


def test_groups_are_those_that_were_named_in_order() -> None:
    alone, of_none = member(1.0, group="alone"), member(1.0, group=None)
    assert by_group([alone, of_none, of_none]) == {"alone": [alone]}
    first, second = member(0.0), member(1.0)
    assert by_group([first, alone, second]) == {"g": [first, second], "alone": [alone]}


@given(st.lists(st.none() | st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=6))
def test_spread_is_that_of_the_scores_there_are(values: list[float | None]) -> None:
    there = [value for value in values if value is not None]
    expected = "unjudged" if len(there) < 2 else "varied" if max(there) > min(there) else "zero"
    assert spread([member(value) for value in values]) == expected


@given(st.lists(st.tuples(*[st.none() | st.booleans()] * 2), min_size=2, max_size=5))
def test_a_criterion_is_told_of_where_every_member_has_a_verdict(rows: list[tuple[bool | None, bool | None]]) -> None:
    expected = []
    for column in ([row[0] for row in rows], [row[1] for row in rows]):
        if None not in column:
            expected.append("all_met" if set(column) == {True} else "none_met" if set(column) == {False} else "mixed")
    assert list(criteria_spreads([member(1.0, row) for row in rows])) == expected


def test_members_with_other_criteria_are_not_compared() -> None:
    assert list(criteria_spreads([member(1.0), member(1.0, (True,))])) == []


class Text(str):
    """A text whose life can be watched."""


async def test_a_text_that_is_too_long_is_gone_when_its_request_is_answered() -> None:
    """No failure holds its frames, and with them the request, until the next collection."""
    engine = FakeEngine()
    engine.max_model_len = 1000
    async with scoring(engine) as scorer:
        for content in ("7" * 100_000, "a " * 1_500):
            text = Text(content)
            gone = weakref.ref(text)
            gc.collect()
            gc.disable()
            try:
                [scored], _ = await scorer.score([candidate(text, 3)], Options())
                assert {one.status for one in scored.judgements} == {"too_long"}
                del text, scored
                for _ in range(500):  # the thread that rendered lets go of its work when it next runs
                    await settle()
                    if gone() is None:
                        break
                    await asyncio.sleep(0.01)
                assert gone() is None
            finally:
                gc.enable()

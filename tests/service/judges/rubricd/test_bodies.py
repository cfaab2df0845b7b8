"""Tests of what is sent to another rubricd: it reads back the same candidates."""

import math
import random
from typing import Any

import pytest

from service.api import translate
from service.errors import EngineFailed, InvalidRequest
from service.judges.joining import total
from service.judges.rubricd.bodies import body_of, judgements_of, tokens_of, used
from service.rubrics.rubric import Criterion, Extraction, Option, Rule
from service.scoring.request import Options, Usage
from tests.service.judges.engines import candidate
from trainer_client import wire

NAMES = ["search", "a b", 'with "quotes"', "f(x)", "tool: one", "ü"]


def turn(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(["user", "system", "assistant", "call", "tool"])
    text = rng.choice(["Rest it.", "a: b (c)", '"x"', "  two\nlines "])
    if kind == "call":
        call = {"name": rng.choice(NAMES), "arguments": rng.choice(["{}", '{"q": "(a): b"}', ""])}
        return {"role": "assistant", "content": rng.choice(["", text]), "tool_calls": [call]}
    if kind == "tool":
        return {"role": "tool", "content": text, **({"name": rng.choice(NAMES)} if rng.random() < 0.7 else {})}
    return {"role": kind, "content": text}


def test_500_conversations_and_trajectories_are_read_back_as_they_were() -> None:
    rng = random.Random(0)
    for _ in range(500):
        prompt = [turn(rng) for _ in range(rng.randint(1, 4))]
        said = [one for one in (turn(rng) for _ in range(8)) if one["role"] in ("assistant", "tool")]
        sent: dict[str, Any] = {
            "items": [{"prompt": prompt, "response": said or "Rest.", "rubric": [{"text": "Is calm.", "points": -2}]}]
        }
        sent["items"][0]["documents"] = rng.choice([None, [], ["Rest heals."], ["a", "a"]])
        before = translate.candidates(wire.ScoreRequest.model_validate(sent))
        body = body_of(before, Options(), "b", "f00d", 1000)
        request = wire.ScoreRequest.model_validate(body)
        [after], [asked] = translate.candidates(request), before
        assert after.turns == asked.turns
        assert (after.response, after.trajectory) == (asked.response, asked.trajectory)
        assert [(one.text, one.points) for one in after.criteria] == [(one.text, one.points) for one in asked.criteria]
        assert (request.judge, request.expect_judge, request.deadline_ms) == ("b", "f00d", 1000)


def test_levels_go_along_and_extracted_values_do_not() -> None:
    levels = Criterion("c", "How calm?", 2.0, options=(Option("not", 0.0), Option("very", 1.0)))
    asked = candidate()
    graded = type(asked)("0", asked.turns, "Rest.", (levels,))
    request = wire.ScoreRequest.model_validate(body_of([graded], Options(), None, "f", None))
    assert request.items[0].rubric is not None
    [sent] = request.items[0].rubric.criteria
    assert sent.points == 2.0 and [(one.text, one.value) for one in sent.levels or ()] == [("not", 0.0), ("very", 1.0)]
    rule = Extraction("number", "The dose.", Rule("exact", {"text": "3"}))
    extracting = type(asked)("0", asked.turns, "Rest.", (Criterion("c", "The dose.", 1.0, extraction=rule),))
    with pytest.raises(InvalidRequest, match="not asked to extract"):
        body_of([extracting], Options(), None, "f", None)


def test_the_reserved_tokens_are_more_than_the_texts() -> None:
    asked = candidate(criteria=3)
    assert tokens_of([asked, asked]) == 2 * tokens_of([asked]) > 300


def test_a_level_that_the_criterion_does_not_have_is_no_result() -> None:
    """9 faults, 0 taken for a level; a plain criterion has none, whatever the other service says."""
    options = tuple(Option(text, value) for text, value in (("none", 0.0), ("some", 0.5), ("all", 1.0)))
    graded = Criterion("c", "Says when.", 2.0, options=options)
    said = {"status": "ok", "met": True, "p": 0.9, "p_raw": 0.9, "label_mass": 1.0, "source": "judge"}
    whole = {**said, "level": 2, "p_levels": [0.1, 0.2, 0.7], "value": 0.8}
    [found] = judgements_of({"criteria": [whole]}, [graded])
    assert (found.level, found.p_levels, found.value) == (2, (0.1, 0.2, 0.7), 0.8)
    faults: list[dict[str, Any]] = [
        {"level": 3},
        {"level": -1},
        {"level": True},
        {"level": None},
        {"p_levels": [0.5, 0.5]},
        {"p_levels": [5.0, -4.0, 0.0]},
        {"p_levels": [0.1, 0.2, 0.6]},
        {"value": None},
        {"met": None},
    ]
    for fault in faults:
        with pytest.raises(EngineFailed):
            judgements_of({"criteria": [{**whole, **fault}]}, [graded])
    [plain] = judgements_of({"criteria": [whole]}, [Criterion("c", "Says when.", 2.0)])
    assert (plain.level, plain.p_levels) == (None, None)


def test_what_the_other_service_gives_no_price_has_none() -> None:
    """Whoever reads only that something was judged there must not take the price of others for the whole."""
    judged = {"judgements": 4, "prompt_tokens": 70}
    for said, cost in [
        ({**judged, "cost": 0.5}, 0.5),
        ({**judged, "cost": None}, None),
        (judged, None),
        ({**judged, "cost": math.nan}, None),
        ({**judged, "cost": True}, None),
        ({**judged, "cost": -1.0}, None),
        ({**judged, "cost": "0.5"}, None),
        ({"cost": 0.5}, 0.5),
        ("nothing", None),
    ]:
        other, usage = Usage(judgements=1, priced=1, dollars=0.25), Usage(unpriced=3)
        used({"usage": said}, usage)
        assert total([usage]).cost == cost, said
        assert total([usage, other]).cost == (None if cost is None else 0.75), said
    from_cache = Usage(unpriced=3)
    used({"usage": {"judgements": 0, "cache_hits": 3, "cost": None}}, from_cache)
    assert total([from_cache, Usage(judgements=1, priced=1, dollars=0.25)]).cost == 0.25, "a cache costs nothing"

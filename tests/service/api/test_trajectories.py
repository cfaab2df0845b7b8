"""Responses with turns: all of them are shown to the judge, and rules look at what the assistant says."""

from typing import Any

import httpx

from service.api.translate import candidates
from service.rubrics.rubric import CALL, NAMED_TOOL, Candidate
from testkit.apps import serving
from trainer_client import wire

TOOL = "ginger tea and a massage"
LOOK: dict[str, Any] = {
    "role": "assistant",
    "content": "I look it up.",
    "tool_calls": [{"function": {"name": "look", "arguments": '{"q": "neck"}'}}],
}
ANSWERED = {"role": "tool", "content": TOOL, "tool_call_id": "c1"}
FINAL = {"role": "assistant", "content": "Rest."}
TRAJECTORY = [LOOK, ANSWERED, FINAL]


def _candidate(response: Any, **options: Any) -> Candidate:
    item = {"prompt": "My neck hurts.", "response": response, "rubric": [{"text": "t", "points": 1}]}
    return candidates(wire.ScoreRequest.model_validate({"items": [item], **options}))[0]


async def _score(client: httpx.AsyncClient, response: Any, *criteria: Any, **options: Any) -> wire.Result:
    rubric = list(criteria) or [{"text": "Says to drink tea.", "points": 1}]
    body = {"items": [{"prompt": "My neck hurts.", "response": response, "rubric": rubric}], **options}
    answer = await client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate(answer.json()).results[0]


def _rule(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "points": 1, "verifier": {"rule": "contains", "text": text, **more}}


def test_a_trajectory_says_who_said_what() -> None:
    made = _candidate(TRAJECTORY)
    assert [(turn.role, turn.content) for turn in made.trajectory] == [
        ("assistant", "I look it up."),
        (CALL, 'look({"q": "neck"})'),
        ("tool", TOOL),
        ("assistant", "Rest."),
    ]
    assert made.response == "Rest."


def test_the_final_text_is_that_of_the_last_turn() -> None:
    assert _candidate([LOOK, ANSWERED]).response == ""
    assert _candidate([LOOK]).response == ""
    only = _candidate([FINAL])
    assert (only.response, only.trajectory) == ("Rest.", ())


def test_reasoning_goes_from_every_turn_of_the_assistant_and_from_no_other() -> None:
    thought = "<think>ginger tea</think>"
    turns = [{**LOOK, "content": f"{thought}I look."}, {"role": "tool", "content": f"{thought}x"}, FINAL]
    made = _candidate(turns, reasoning="remove")
    assert [turn.content for turn in made.trajectory] == ["I look.", 'look({"q": "neck"})', f"{thought}x", "Rest."]
    assert made.reasoning == "removed"
    assert _candidate(turns).reasoning == "kept"
    assert _candidate([{**LOOK, "content": thought}, ANSWERED, FINAL], reasoning="remove").reasoning == "removed"
    cut = _candidate([LOOK, ANSWERED, {"role": "assistant", "content": "<think>a"}], reasoning="remove")
    assert (cut.response, cut.reasoning) == ("", "unfinished")


async def test_rules_look_at_the_assistants_final_text_or_at_all_of_its_texts() -> None:
    async with serving() as client:
        result = await _score(
            client, TRAJECTORY, _rule("ginger"), _rule("ginger", on="all"), _rule("look it up"), _rule("Rest"),
            _rule("look it up", on="all"),
        )  # fmt: skip
    assert [one.met for one in result.criteria] == [False, False, False, True, True]


async def test_a_trajectory_is_another_response_than_its_text() -> None:
    """Every change of a turn or of its role is a new query."""
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "a", "arguments": "b"}]}
    different: list[Any] = [
        "Rest.",
        TRAJECTORY,
        [LOOK, {**ANSWERED, "content": "nothing"}, FINAL],
        [LOOK, {**ANSWERED, "name": "look"}, FINAL],
        [LOOK, {**ANSWERED, "name": "other"}, FINAL],
        [LOOK, {"role": "assistant", "content": TOOL}, FINAL],
        [LOOK, FINAL],
        [call, FINAL],
        [{"role": "assistant", "content": "a(b)"}, FINAL],
        [{"role": "tool", "content": "a(b)"}, FINAL],
    ]
    async with serving() as client:
        sources = [(await _score(client, one)).criteria[0].source for one in different]
        again = [(await _score(client, one)).criteria[0].source for one in different]
        plain = (await _score(client, [FINAL])).criteria[0].source
    assert sources == ["judge"] * len(different) and again == ["cache"] * len(different)
    assert plain == "cache", "one turn of the assistant is a text"


def test_a_call_can_be_read_in_one_way() -> None:
    names = [("a(b", "c"), ("a", "b(c"), ('"a(b"', "c"), ('"a', 'b"(c')]
    made = set()
    for name, arguments in names:
        call = {"role": "assistant", "content": "", "tool_calls": [{"name": name, "arguments": arguments}]}
        made.add(_candidate([call, FINAL]).trajectory)
    assert len(made) == len(names)


def test_a_named_tools_words_can_be_read_in_one_way() -> None:
    named = [("a", "b: c"), ("a: b", "c"), ('"a: b"', "c"), ('"a', 'b": c'), (None, "a: b: c"), ("", "a: b: c")]
    made = [
        _candidate([LOOK, {"role": "tool", "content": content, "name": name}, FINAL]).trajectory
        for name, content in named
    ]
    assert len(set(made)) == len(named) - 1 and made[-1] == made[-2], "an empty name is none"


async def test_calls_and_tools_of_the_conversation_are_shown() -> None:
    prompt = [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "My neck hurts."},
        {"role": "assistant", "content": None, "tool_calls": LOOK["tool_calls"]},
        {"role": "tool", "content": TOOL, "name": "look", "tool_call_id": "c1"},
    ]
    rubric = [{"text": "t", "points": 1}]
    request = wire.ScoreRequest.model_validate({"items": [{"prompt": prompt, "response": "a", "rubric": rubric}]})
    assert [(turn.role, turn.content) for turn in candidates(request)[0].turns] == [
        ("developer", "Be kind."),
        ("user", "My neck hurts."),
        (CALL, 'look({"q": "neck"})'),
        (NAMED_TOOL, f"look: {TOOL}"),
    ]

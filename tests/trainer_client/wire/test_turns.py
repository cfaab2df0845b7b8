"""Turns as the ecosystem writes them: what is read, what is left out, what is refused by its name."""

from typing import Any

import pytest
from pydantic import ValidationError

from trainer_client import wire

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": "neck"}'}}
ASSISTANT = {"role": "assistant", "content": ""}

READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"role": "user", "content": "a"}, {"content": "a"}),
    ({"role": "developer", "content": "a"}, {"role": "developer", "content": "a"}),
    (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"content": "ab"},
    ),
    ({"role": "user", "content": ["a", "b"]}, {"content": "ab"}),
    ({"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}, {"content": "a"}),
    ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, {"content": "no"}),
    (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"content": "", "calls": [("look", '{"q": "neck"}')]},
    ),
    ({"role": "assistant", "tool_calls": [CALL]}, {"content": "", "calls": [("look", '{"q": "neck"}')]}),
    (
        {**ASSISTANT, "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"q": 1}}}]},
        {"calls": [("look", '{"q": 1}')]},
    ),
    ({**ASSISTANT, "tool_calls": [{"name": "look"}]}, {"calls": [("look", "")]}),
    ({"role": "tool", "content": "a", "name": "look", "tool_call_id": "c1"}, {"content": "a", "name": "look"}),
    ({"role": "tool", "content": "a", "name": ""}, {"name": None}),
    ({"role": "user", "content": "a", "name": "Ann"}, {"name": None}),
    ({"role": "assistant", "content": "a", "name": "bot"}, {"name": None}),
    ({"role": "assistant", "content": "a", "reasoning_content": "hidden"}, {"content": "a"}),
    (
        {
            "role": "assistant",
            "content": "a",
            "refusal": None,
            "audio": None,
            "tool_calls": None,
            "function_call": None,
        },
        {"content": "a", "calls": []},
    ),
]


@pytest.mark.parametrize(("written", "read"), READ)
def test_a_turn_is_read(written: dict[str, Any], read: dict[str, Any]) -> None:
    message = wire.Message.model_validate(written)
    calls = [(call.name, call.arguments) for call in message.tool_calls or []]
    found = {"role": message.role, "content": message.content, "calls": calls, "name": message.name}
    assert {name: found[name] for name in read} == read
    again = wire.Message.model_validate_json(message.model_dump_json(exclude_none=True))
    assert again == message


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "`image_url` cannot be judged"),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "`input_audio` cannot be judged"),
    ({"role": "user", "content": [{"type": "secret"}]}, "a part of `content` is a text"),
    ({"role": "user", "content": [7]}, "a part of `content` is a text"),
    ({"role": "user", "content": None}, "valid string"),
    ({"role": "user", "content": "a", "tool_calls": [CALL]}, "are the assistant's"),
    ({"role": "user", "content": "a", "weight": 1}, "Extra inputs"),
    ({"role": "narrator", "content": "a"}, "Input should be"),
    ({**ASSISTANT, "tool_calls": [{"function": {"arguments": "{}"}}]}, "Field required"),
]


@pytest.mark.parametrize(("written", "why"), REFUSED)
def test_what_is_no_turn_is_refused(written: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as raised:
        wire.Message.model_validate(written)
    assert "secret" not in str(raised.value)


def test_a_response_may_be_a_trajectory_of_assistant_and_tools() -> None:
    turns = [
        {**ASSISTANT, "tool_calls": [CALL]},
        {"role": "tool", "content": "tea"},
        {"role": "assistant", "content": "a"},
    ]
    rubric = [{"text": "t", "points": 1}]
    item = wire.Item.model_validate({"prompt": "p", "responses": [turns, "a text"], "rubric": rubric})
    assert item.result_ids(0) == ["0/0", "0/1"]
    for wrong in ([], [{"role": "user", "content": "a"}], [{"role": "system", "content": "a"}]):
        with pytest.raises(ValidationError):
            wire.Item.model_validate({"prompt": "p", "response": wrong, "rubric": rubric})


ANSWERS = [
    ({"tool_call_id": "c1"}, "look"),
    ({"tool_call_id": "c2"}, None),
    ({"tool_call_id": "c1", "name": "other"}, "other"),
    ({"tool_call_id": "c1", "name": ""}, "look"),
    ({"tool_call_id": 7}, None),
    ({}, None),
]


@pytest.mark.parametrize(("about", "name"), ANSWERS)
def test_a_tools_name_is_found_by_the_id_of_its_call(about: dict[str, Any], name: str | None) -> None:
    turns = [{**ASSISTANT, "tool_calls": [CALL]}, {"role": "tool", "content": "a", **about}]
    rubric = [{"text": "t", "points": 1}]
    item = wire.Item.model_validate({"prompt": turns, "response": turns, "rubric": rubric})
    assert not isinstance(item.prompt, str) and item.prompt[1].name == name
    assert item.response is not None and not isinstance(item.response, str) and item.response[1].name == name


@pytest.mark.parametrize("calls", [7, [7], [{"id": 7}], [{"id": "c1"}], [{"id": "c1", "function": 7}], None])
def test_what_is_no_call_names_no_tool(calls: Any) -> None:
    turns = [{**ASSISTANT, "tool_calls": calls}, {"role": "tool", "content": "a", "tool_call_id": "c1"}]
    try:
        item = wire.Item.model_validate({"prompt": turns, "response": ""})
    except ValidationError:
        return
    assert not isinstance(item.prompt, str) and item.prompt[1].name is None

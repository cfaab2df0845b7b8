"""Other protocols' messages are turns of the contract."""

from typing import Any

import pytest

from service.api.protocols.messages import turns


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"role": "tool", "name": "look", "content": "a", "tool_call_id": "1"}, {"name": "look"}),
        ({"role": "tool", "name": "", "content": "a"}, {}),
        ({"role": "tool", "name": 7, "content": "a"}, {}),
        ({"role": "user", "name": "Ann", "content": "a"}, {}),
    ],
)
def test_a_tools_name_is_kept_and_no_other(message: dict[str, Any], sent: dict[str, Any]) -> None:
    (turn,) = turns([message], "messages")
    assert turn.sent() == {"role": message["role"], "content": "a", **sent}


CHAT = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": ""}}],
}
ITEM = {"type": "function_call", "name": "look", "arguments": "", "call_id": "1"}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (CHAT, {"role": "tool", "content": "a", "tool_call_id": "1"}),
        (ITEM, {"type": "function_call_output", "output": "a", "call_id": "1"}),
    ],
)
def test_a_tools_name_is_found_by_the_id_of_its_call(call: dict[str, Any], answer: dict[str, Any]) -> None:
    assert turns([call, answer], "messages")[1].sent() == {"role": "tool", "content": "a", "name": "look"}
    assert "name" not in turns([answer], "messages")[0].sent()

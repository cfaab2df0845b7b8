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

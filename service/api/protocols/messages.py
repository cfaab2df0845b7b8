"""Other protocols' messages as turns of the contract: chat messages, and the items of OpenAI's Responses API.

Always true: what is neither text nor can be written as text is refused with its place, never left out; only an item
`reasoning`, the policy's own thought, is nobody's turn.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from service.api.protocols.common import Place
from service.api.request_body import unserved
from trainer_client import wire

_TEXT = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class Spoke:
    """One turn."""

    role: str
    content: str

    def sent(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


def turns(items: Sequence[Any], *place: str | int) -> list[Spoke]:
    """Raises InvalidRequest."""
    found = (_turn(item, (*place, index)) for index, item in enumerate(items))
    return [turn for turn in found if turn is not None]


def _turn(item: Any, place: Place) -> Spoke | None:
    if not isinstance(item, dict):
        raise unserved(*place, "a message is an object with `role` and `content`")
    kind = item.get("type", "message")
    if kind == "reasoning":
        return None
    if kind in ("function_call", "custom_tool_call"):
        said = item.get("arguments" if kind == "function_call" else "input")
        return Spoke("assistant", f"{_text(item.get('name'), place)}({_text(said, place)})")
    if kind in ("function_call_output", "custom_tool_call_output"):
        return Spoke("tool", text(item.get("output"), *place, "output"))
    if kind != "message" or item.get("role") not in get_args(wire.Role):
        roles = ", ".join(get_args(wire.Role))
        raise unserved(*place, f"this judge reads messages with a `role` of {roles}, function calls and their outputs")
    if item.get("tool_calls"):
        raise unserved(*place, "a chat message with `tool_calls` is not read; write the call as text")
    return Spoke(item["role"], text(item.get("content"), *place, "content"))


def text(content: Any, *place: str | int) -> str:
    """A string, or parts of text and JSON one after another. Raises InvalidRequest for anything else."""
    if isinstance(content, list):
        return "".join(_part(part, (*place, index)) for index, part in enumerate(content))
    return _text(content, place)


def _part(part: Any, place: Place) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT:
        return _text(part.get("text"), place)
    if kind == "refusal":
        return _text(part.get("refusal"), place)
    if kind == "input_json":
        return json.dumps(part.get("data"), ensure_ascii=False, separators=(",", ":"))
    raise unserved(*place, "this judge reads text (and JSON as text), nothing else")


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise unserved(*place, "text is missing here")
    return value


def sent(turns: Iterable[Spoke]) -> list[dict[str, str]]:
    return [turn.sent() for turn in turns]

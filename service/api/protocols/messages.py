"""Reads other protocols' messages as turns of the contract: chat messages, and items of OpenAI's Responses API.

Guarantees: what is neither text nor can be written as text is refused with its place. An item `reasoning`, which the
policy's reader does not see, is the one kind of item that makes no turn.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from service.api.protocols.common import Place
from service.api.request_body import invalid_at
from trainer_client import wire

_TEXT = ("text", "input_text", "output_text")  # a tuple bears a `type` that is a list


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn."""

    role: str
    content: str

    def sent(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


def turns(items: Sequence[Any], *place: str | int) -> list[Turn]:
    """Raises InvalidRequest."""
    found = (_turn(item, (*place, index)) for index, item in enumerate(items))
    return [turn for turn in found if turn is not None]


def _turn(item: Any, place: Place) -> Turn | None:
    if not isinstance(item, dict):
        raise invalid_at(*place, "a message is an object with `role` and `content`")
    kind = item.get("type", "message")
    if kind == "reasoning":
        return None
    if kind in ("function_call", "custom_tool_call"):
        arguments = item.get("arguments" if kind == "function_call" else "input")
        return Turn("assistant", f"{_text(item.get('name'), place)}({_text(arguments, place)})")
    if kind in ("function_call_output", "custom_tool_call_output"):
        return Turn("tool", text(item.get("output"), *place, "output"))
    if kind != "message" or item.get("role") not in get_args(wire.Role):
        roles = ", ".join(get_args(wire.Role))
        raise invalid_at(
            *place, f"this judge reads messages with a `role` of {roles}, function calls and their outputs"
        )
    if item.get("tool_calls"):
        raise invalid_at(*place, "a chat message with `tool_calls` is not read; write the call as text")
    return Turn(item["role"], text(item.get("content"), *place, "content"))


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
    raise invalid_at(*place, "this judge reads text (and JSON as text), nothing else")


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise invalid_at(*place, "text is missing here")
    return value


def as_messages(turns: Iterable[Turn]) -> list[dict[str, str]]:
    return [turn.sent() for turn in turns]

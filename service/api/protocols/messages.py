"""Reads other protocols' messages as turns of the contract: chat messages, and items of OpenAI's Responses API.

Guarantees: what is neither text nor can be written as text is refused with its place. An item `reasoning`, which the
policy's reader does not see, is the one kind of item that makes no turn.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from service.api.bodies.parsing import invalid_at
from service.api.protocols.common import Place
from trainer_client import wire

_TEXT = ("text", "input_text", "output_text")  # a tuple bears a `type` that is a list


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `calls` are the assistant's calls of tools, as the contract reads them; `name` is a tool's."""

    role: str
    content: str
    calls: tuple[Any, ...] = ()
    name: str | None = None

    def sent(self) -> dict[str, Any]:
        calls = {"tool_calls": list(self.calls)} if self.calls else {}
        name = {} if self.name is None else {"name": self.name}
        return {"role": self.role, "content": self.content, **calls, **name}


def turns(items: Sequence[Any], *place: str | int) -> list[Turn]:
    """Raises InvalidRequest."""
    names = dict(_names(items))
    found = (_turn(item, (*place, index), names) for index, item in enumerate(items))
    return [turn for turn in found if turn is not None]


def _names(items: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The ids of calls, with the names of the tools."""
    for item in items:
        if isinstance(item, dict):
            calls = item.get("tool_calls")
            for call in calls if isinstance(calls, list) else [item]:
                named = call.get("function", call) if isinstance(call, dict) else None
                id = call.get("call_id", call.get("id")) if isinstance(call, dict) else None
                if isinstance(named, dict) and isinstance(named.get("name"), str) and isinstance(id, str):
                    yield id, named["name"]


def _turn(item: Any, place: Place, names: Mapping[str, str]) -> Turn | None:
    if not isinstance(item, dict):
        raise invalid_at(*place, "a message is an object with `role` and `content`")
    kind = item.get("type", "message")
    if kind == "reasoning":
        return None
    if kind in ("function_call", "custom_tool_call"):
        arguments = item.get("arguments" if kind == "function_call" else "input")
        return Turn("assistant", "", ({"name": _text(item.get("name"), place), "arguments": _text(arguments, place)},))
    if kind in ("function_call_output", "custom_tool_call_output"):
        return Turn("tool", text(item.get("output"), *place, "output"), name=_name(item, "call_id", names))
    if kind != "message" or item.get("role") not in get_args(wire.Role):
        roles = ", ".join(get_args(wire.Role))
        raise invalid_at(
            *place, f"this judge reads messages with a `role` of {roles}, function calls and their outputs"
        )
    content, calls = item.get("content"), item.get("tool_calls")
    if not calls:
        name = _name(item, "tool_call_id", names) if item["role"] == "tool" else None
        return Turn(item["role"], text(content, *place, "content"), name=name)
    return Turn(item["role"], "" if content is None else text(content, *place, "content"), _calls(calls, place))


def _name(item: dict[str, Any], id: str, names: Mapping[str, str]) -> str | None:
    """The name of the tool that answers: as the item says it, or by the id of its call."""
    name, called = item.get("name"), item.get(id)
    if isinstance(name, str) and name:
        return name
    return names.get(called) or None if isinstance(called, str) else None


def _calls(calls: Any, place: Place) -> tuple[Any, ...]:
    try:
        read = wire.Message.model_validate({"role": "assistant", "content": "", "tool_calls": calls}).tool_calls or []
    except ValidationError:
        raise invalid_at(*place, "tool_calls", "a call is {function: {name, arguments}}") from None
    return tuple(call.model_dump() for call in read)


def split_response(turns: Sequence[Turn]) -> tuple[list[Turn], Any]:
    """The conversation, and the response: what assistant and tools said after the last turn of anybody else. A text
    where the assistant said one, else a trajectory."""
    start = next((n for n in range(len(turns), 0, -1) if turns[n - 1].role not in ("assistant", "tool")), 0)
    return list(turns[:start]), as_response(turns[start:])


def as_response(turns: Sequence[Turn]) -> Any:
    """These turns as the contract's `response`; empty where there are none."""
    if not turns:
        return ""
    if len(turns) == 1 and turns[0].role == "assistant" and not turns[0].calls:
        return turns[0].content
    return as_messages(turns)


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
    if kind in wire.NO_TEXT:
        raise invalid_at(*place, f"a part of type `{kind}` cannot be judged: this judge reads text; leave the part out")
    raise invalid_at(*place, "this judge reads text (and JSON as text), nothing else")


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise invalid_at(*place, "text is missing here")
    return value


def as_messages(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    return [turn.sent() for turn in turns]

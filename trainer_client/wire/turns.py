"""Defines the turns of a conversation and of a trajectory, and reads the shapes in which programs write them.

Guarantees: content is text. Text parts are joined, a call's arguments become text, and a part that is no text is
refused by its name. What belongs to the program that wrote the turn (ids of calls, names of users, reasoning that it
has split off) is left out.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from trainer_client.wire.models import MAX_ID_CHARACTERS, MAX_TEXT_CHARACTERS, MAX_TURNS, Strict

Role = Literal["system", "developer", "user", "assistant", "tool"]

_TEXT = ("text", "input_text", "output_text")
NO_TEXT = ("image_url", "input_image", "image", "input_audio", "audio", "audio_url", "video", "video_url", "file")
_LEFT_OUT = frozenset({"tool_call_id", "reasoning_content", "reasoning", "thinking"})
_MAY_BE_NULL = frozenset({"tool_calls", "function_call", "refusal", "audio", "annotations"})
_CALL = frozenset({"id", "type", "index", "function"})


class ToolCall(Strict):
    """A call that the assistant makes. `{function: {name, arguments}}` and an object of arguments are read, too."""

    name: str = Field(max_length=MAX_TEXT_CHARACTERS, description="The tool's name.")
    arguments: str = Field(default="", description="Its arguments, as a text.")

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("function"), dict) and value.keys() <= _CALL:
            value = value["function"]
        arguments = value.get("arguments")
        if isinstance(arguments, dict | list):
            value = {**value, "arguments": json.dumps(arguments, ensure_ascii=False)}
        elif arguments is None and "arguments" in value:
            value = {**value, "arguments": ""}
        return value


class Message(Strict):
    """One turn. `content` may be null where there are `tool_calls`, or a list of parts of text."""

    role: Role = Field(description="Who speaks.")
    content: str = Field(description="What is said.")
    tool_calls: list[ToolCall] | None = Field(
        default=None, max_length=MAX_TURNS, description="The assistant's calls of tools in this turn."
    )
    name: str | None = Field(default=None, max_length=MAX_ID_CHARACTERS, description="Of a tool, the one that answers.")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if not isinstance(value, dict) or (len(value) == 2 and isinstance(value.get("content"), str)):
            return value
        return _plain(value)


class ResponseTurn(Message):
    """One turn of a response that is a trajectory: the policy's own, or what a tool answered."""

    role: Literal["assistant", "tool"] = Field(description="Who speaks: the policy, or a tool that answers it.")


def _plain(turn: dict[str, Any]) -> dict[str, Any]:
    """The turn with its content as text, without what is not judged. What is wrong is left to validation."""
    kept = {
        name: value
        for name, value in turn.items()
        if name not in _LEFT_OUT and not (name in _MAY_BE_NULL and (value is None or value == []))
    }
    if kept.get("role") != "tool" or not kept.get("name"):
        kept.pop("name", None)
    if kept.get("tool_calls") and kept.get("role") != "assistant":
        raise ValueError("`tool_calls` are the assistant's; leave them out of other turns")
    content = kept.get("content")
    if content is None and kept.get("role") == "assistant":
        kept["content"] = ""
    elif isinstance(content, list):
        kept["content"] = "".join(map(_text_of, content))
    return kept


def _text_of(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind in NO_TEXT:
        raise ValueError(f"a part of type `{kind}` cannot be judged: this judge reads text; leave the part out")
    raise ValueError("a part of `content` is a text, or an object like {type: text, text: …}")


def _with_names(turns: Any) -> Any:
    """The turns with the name of the tool that answers, where only the id of its call says it."""
    if not isinstance(turns, list) or not any(isinstance(turn, dict) and "tool_call_id" in turn for turn in turns):
        return turns
    names: dict[str, Any] = {}
    named = []
    for turn in turns:
        if isinstance(turn, dict):
            names |= dict(_calls_of(turn))
            called = turn.get("tool_call_id")
            if turn.get("role") == "tool" and not turn.get("name") and isinstance(called, str) and called in names:
                turn = {**turn, "name": names[called]}
        named.append(turn)
    return named


def _calls_of(turn: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The ids of the turn's calls, with the names of the tools. What is no call is left to validation."""
    calls = turn.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            function = call["function"] if isinstance(call.get("function"), dict) else call
            if isinstance(name := function.get("name"), str):
                yield call["id"], name


Turns = Annotated[list[Message], Field(max_length=MAX_TURNS), BeforeValidator(_with_names)]
Trajectory = Annotated[list[ResponseTurn], Field(min_length=1, max_length=MAX_TURNS), BeforeValidator(_with_names)]
Response = str | Trajectory
"""A response: its text, or the turns in which a policy with tools made it."""

"""Writes and reads the calls of typed decisions: System One (`/v1/systemone`) and OpenAI's (`/v1/decisions`). Pure.

A question is the criterion in the framing's words; its id is a number, which no criterion's text is in.

Guarantees: a number comes from what the server answered. An answer that is missing, of another kind, not finite or
outside 0 to 1 fails its question and no other; answers to what was not asked, a name that stands twice, or a count of
answers that is not that of the questions, fail the call.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.engine.base import Decision
from service.engine.upstream.calls import Dialect
from service.engine.upstream.text_dialect import text_dialect
from service.errors import EngineFailed, JudgementError, Refused

ProtocolName = Literal["system_one", "openai"]
Answers = list[Decision | JudgementError]

_LEFT_OUT = "the judge's server left the question without an answer"


@dataclass(frozen=True, slots=True)
class Protocol:
    """`write` makes a body of a model, a state and questions; `read` takes the answers from a reply to so many."""

    dialect: Dialect
    write: Callable[[str, dict[str, Any], Sequence[str]], dict[str, Any]]
    read: Callable[[Any, int], Answers]
    referable: bool


def _write_system_one(model: str, state: dict[str, Any], questions: Sequence[str]) -> dict[str, Any]:
    asked = {str(n): {"type": "noul", "instructions": text} for n, text in enumerate(questions)}
    return {"model": model, "state": state, "questions": asked}


def _read_system_one(reply: Any, asked: int) -> Answers:
    found = reply.get("answers") if isinstance(reply, dict) else None
    if not isinstance(found, dict):
        raise EngineFailed("the judge's server gave no answers")
    ids = [str(n) for n in range(asked)]
    if found.keys() - set(ids):
        raise EngineFailed("the judge's server answered questions that were not asked")
    return [_decision(found.get(id), "noul", "noul") for id in ids]


def _write_openai(model: str, state: dict[str, Any], questions: Sequence[str]) -> dict[str, Any]:
    """The last message is the one that is judged, those before it are the conversation. A trajectory is its turns as
    JSON."""
    submission = state["submission"]
    text = submission if isinstance(submission, str) else json.dumps(submission, ensure_ascii=False)
    asked = [{"type": "predicate", "instructions": text, "name": str(n)} for n, text in enumerate(questions)]
    turns = [*state.get("input", []), {"role": "assistant", "content": text}]
    return {"model": model, "input": turns, "questions": asked}


def _read_openai(reply: Any, asked: int) -> Answers:
    found = reply.get("answers") if isinstance(reply, dict) else None
    if not isinstance(found, list) or len(found) != asked:
        raise EngineFailed(f"the judge's server gave no list of {asked} answers")
    names = [one.get("name") if isinstance(one, dict) else None for one in found]
    if any(name not in (None, str(n)) for n, name in enumerate(names)):
        raise EngineFailed("the judge's server answered in another order than it was asked")
    return [_decision(one, "predicate", "probability") for one in found]


def _decision(answer: Any, kind: str, field: str) -> Decision | JudgementError:
    if not isinstance(answer, dict):
        return EngineFailed(_LEFT_OUT)
    if answer.get("type") == "refusal":
        return Refused("the judge's server refuses to answer this question")
    p = answer.get(field)
    if answer.get("type") != kind or isinstance(p, bool) or not isinstance(p, int | float):
        return EngineFailed(f"the judge's server gave no answer of type `{kind}`")
    if not 0.0 <= p <= 1.0:  # NaN is in no range
        return EngineFailed("the judge's server gave a probability that is none")
    return Decision(float(p))


PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    "system_one": Protocol(text_dialect("/v1/systemone"), _write_system_one, _read_system_one, referable=True),
    "openai": Protocol(text_dialect("/v1/decisions"), _write_openai, _read_openai, referable=False),
}

"""Translates the engine's calls and outcomes into frames and back. Pure.

A call names each part of its prompts once, however many prompts share it.

Guarantees: prompts come out in order and equal, and those that shared one tuple share one again, so that a batch is
planned as it would be in one process. Numbers come out as the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.engine.base import (
    Decision,
    Documents,
    EngineIdentity,
    EngineResult,
    Generation,
    LabelLogprobs,
    Prompt,
    Sampling,
)
from service.engine.local.isolated.frames import Frame, no_ids
from service.errors import Cancelled, EngineFailed, JudgementError, TooLong

_ERRORS: Mapping[str, type[JudgementError]] = {error.code: error for error in (EngineFailed, TooLong, Cancelled)}


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """The judge to load, by the settings of the same names. `log_format` is that of the process's log lines; a process
    that computes says so every `progress_s` seconds."""

    judge: str
    revision: str | None
    dtype: str
    device: str | None
    max_model_len: int | None
    log_format: str = "text"
    progress_s: float = 1.0


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What the process says of the judge that it has loaded, which stands in `folder`."""

    identity: EngineIdentity
    max_model_len: int
    folder: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine: of `read_labels` where there are `label_ids`, of `generate` where there are samplings."""

    number: int
    prompts: tuple[Prompt, ...]
    label_ids: tuple[int, ...] = ()
    samplings: tuple[Sampling, ...] = ()


def encode_spec(spec: JudgeSpec) -> Frame:
    names = JudgeSpec.__slots__
    return Frame({"kind": "load", **{name: getattr(spec, name) for name in names}}, no_ids())


def decode_spec(frame: Frame) -> JudgeSpec:
    return JudgeSpec(**{name: frame.head[name] for name in JudgeSpec.__slots__})


def encode_loaded(loaded: LoadedFacts) -> Frame:
    one = loaded.identity
    head = {
        "model": one.model,
        "revision": one.revision,
        "engine": one.engine,
        "facts": dict(one.facts),
        "toy": one.toy,
    }
    more = {"max_model_len": loaded.max_model_len, "folder": loaded.folder}
    return Frame({"kind": "loaded", **head, **more}, no_ids())


def decode_loaded(frame: Frame) -> LoadedFacts:
    head = frame.head
    identity = EngineIdentity(head["model"], head["revision"], head["engine"], head["facts"], head["toy"])
    return LoadedFacts(identity, head["max_model_len"], head["folder"])


def encode_call(call: Call) -> Frame:
    """Raises OverflowError for a token id that no tokenizer has."""
    places: dict[int, int] = {}
    ids = no_ids()
    lengths: list[int] = []
    prompts = []
    for prompt in call.prompts:
        for part in (prompt.shared, prompt.own):
            if id(part) not in places:
                places[id(part)] = len(lengths)
                lengths.append(len(part))
                ids.extend(part)
        prompts.append((places[id(prompt.shared)], places[id(prompt.own)], prompt.salt, prompt.priority))
    samplings = [(s.max_tokens, s.temperature, s.seed, s.json_schema, s.stop_ids) for s in call.samplings]
    head = {"number": call.number, "parts": lengths, "prompts": prompts, "labels": call.label_ids}
    return Frame({"kind": "call", **head, "samplings": samplings}, ids)


def decode_call(frame: Frame) -> Call:
    head, parts, at = frame.head, [], 0
    for length in head["parts"]:
        parts.append(tuple(frame.ids[at : at + length]))
        at += length
    return Call(
        head["number"],
        tuple(Prompt(parts[shared], parts[own], salt, priority) for shared, own, salt, priority in head["prompts"]),
        tuple(head["labels"]),
        tuple(_sampling(*values) for values in head["samplings"]),
    )


def _sampling(max_tokens: int, temperature: float, seed: int, json_schema: str | None, stop_ids: list[int]) -> Sampling:
    return Sampling(max_tokens, temperature, seed, json_schema, tuple(stop_ids))


def encode_outcomes(number: int, outcomes: Sequence[EngineResult | JudgementError]) -> Frame:
    return Frame(
        {"kind": "outcomes", "number": number, "outcomes": [_outcome_values(one) for one in outcomes]}, no_ids()
    )


def decode_outcomes(frame: Frame) -> list[Any]:
    """One LabelLogprobs, Generation or JudgementError a prompt."""
    return [_outcome(*values) for values in frame.head["outcomes"]]


def encode_failure(number: int, error: Exception) -> Frame:
    """The whole call failed."""
    code = error.code if isinstance(error, JudgementError) else "mistake"
    return Frame({"kind": "failure", "number": number, "code": code, "message": str(error)}, no_ids())


def decode_failure(frame: Frame) -> Exception:
    """A ValueError where the caller had made a mistake."""
    error: type[Exception] = _ERRORS.get(frame.head["code"], ValueError)
    return error(frame.head["message"])


def _outcome_values(outcome: EngineResult | JudgementError) -> tuple[Any, ...]:
    if isinstance(outcome, LabelLogprobs):
        return "labels", outcome.logprobs, outcome.cached_tokens
    if isinstance(outcome, Generation):
        return "text", outcome.text, outcome.finished, outcome.tokens, outcome.cached_tokens
    if isinstance(outcome, Decision | Documents):
        raise TypeError("an engine that reads token ids gives no decisions")
    return outcome.code, str(outcome)


def _outcome(kind: str, *values: Any) -> EngineResult | JudgementError:
    if kind == "labels":
        return LabelLogprobs(tuple(values[0]), values[1])
    if kind == "text":
        return Generation(*values)
    return _ERRORS.get(kind, EngineFailed)(*values)

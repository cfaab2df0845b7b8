"""Translates NeMo-Gym's resources server: `POST /verify`, with `POST /seed_session` that its agents call before.

A row that was not judged is marked as Gym's own servers mark one whose judge failed: `_ng_failure_class`, masked, and
with the 0.0 that Gym's type of a row demands. Gym puts such rows aside and sends them again; no training uses the 0.0.
"""

from typing import Any

from service.api import problems
from service.api.bodies.parsing import ParsedRequest, read
from service.api.protocols.common import (
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    missing_reason,
    to_json,
    validated,
)
from service.api.protocols.messages import Turn, as_messages, as_response, turns
from trainer_client import wire

FAILED = "judge_failed"
_STALE = frozenset({"reward", "reward_components", "mask_sample", "failure_kind", "failure_reason"})


class CreateParams(ForeignBody):
    """The request to the policy, as parameters of OpenAI's Responses API."""

    input: str | list[Any]
    instructions: str | None = None


class Response(ForeignBody):
    """The policy's response, an object of OpenAI's Responses API."""

    output: list[Any]


class Metadata(ForeignBody):
    rubric: Any = None
    reference: Any = None


class Body(Metadata):
    """A row. The rubric is a field of the row, or of its `verifier_metadata`."""

    responses_create_params: CreateParams
    response: Response
    verifier_metadata: Metadata | None = None


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    data = read(body, problems.names_of(Body))
    parsed = validated(data, Body)
    row = _unmarked(data)
    before, response = _split_conversation(parsed)
    label = _label(parsed).filled(prompt=as_messages(before))
    request = build_request([(label, response)], context)
    return ParsedRequest(request, lambda answer: reply(answer, row, soft=request.soft), lambda item: label.place)


def row_of(body: bytes) -> dict[str, Any]:
    """The row without the marks of an earlier verification. Raises InvalidRequest."""
    data = read(body, problems.names_of(Body))
    validated(data, Body)
    return _unmarked(data)


def _unmarked(row: dict[str, Any]) -> dict[str, Any]:
    config = row.get("instance_config")
    if isinstance(config, dict):
        row["instance_config"] = {name: value for name, value in config.items() if name != "mask_sample"}
    return {name: value for name, value in row.items() if name not in _STALE and not name.startswith("_ng_failure_")}


def _label(parsed: Body) -> Label:
    inner = parsed.verifier_metadata
    if parsed.rubric is None and inner is not None:
        return Label.of(_given(inner), "verifier_metadata")
    return Label.of(_given(parsed))


def _given(fields: Metadata) -> dict[str, Any]:
    return {"rubric": fields.rubric} if fields.reference is None else fields.model_dump(include={"rubric", "reference"})


def _split_conversation(parsed: Body) -> tuple[list[Turn], Any]:
    """The conversation, and the response: all of the output, a trajectory where the policy used tools."""
    params = parsed.responses_create_params
    before = [] if params.instructions is None else [Turn("system", params.instructions)]
    if isinstance(params.input, str):
        before.append(Turn("user", params.input))
    else:
        before += turns(params.input, "responses_create_params", "input")
    return before, as_response(turns(parsed.response.output, "response", "output"))


def reply(answer: wire.ScoreResponse, row: dict[str, Any], *, soft: bool) -> bytes:
    """The row with its reward, or marked as not judged."""
    [result] = answer.results
    if result.score is None:
        return failed(row, missing_reason(answer.results))
    judged = {
        "reward": result.score,
        "reward_components": {one.id: _earned(one, soft) for one in result.criteria if one.met is not None},
        "rubric_evaluations": [one.model_dump(mode="json") for one in result.criteria],
        "judge_status": result.status,
        "judge_fingerprint": answer.judge.fingerprint,
    }
    return to_json({**row, **judged})


def _earned(criterion: wire.CriterionResult, soft: bool) -> float:
    """Its points as far as it is met."""
    return criterion.points * float(criterion.p if soft and criterion.p is not None else bool(criterion.met))


def failed(row: dict[str, Any], why: str) -> bytes:
    """The row as one that was not judged."""
    config = row.get("instance_config")
    marks = {
        "reward": 0.0,
        "mask_sample": True,
        "failure_kind": FAILED,
        "failure_reason": why,
        "instance_config": {**(config if isinstance(config, dict) else {}), "mask_sample": True},
        "_ng_failure_class": FAILED,
        "_ng_failure_judge_error": why,
    }
    return to_json({**row, **marks})

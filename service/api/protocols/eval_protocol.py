"""Translates eval-protocol's remote reward function, `POST /evaluate` (read in release 0.3.33).

Its server takes arguments in `kwargs`, its client sends them beside `messages`: both are read. Its client keeps `score`
and drops `is_score_valid`, so a missing score is null, which that client refuses, and not 0.
"""

from typing import Any

from pydantic import ConfigDict, Field

from service.api.bodies.parsing import ParsedRequest, invalid_at
from service.api.protocols.common import (
    ITEM,
    OPTIONS,
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    missing_reason,
    parse,
    to_json,
)
from service.api.protocols.messages import as_messages, split_response, turns
from trainer_client import wire


class Body(ForeignBody):
    """`messages` end with the response, a trajectory where tools answered in between. `ground_truth` is a reference, or
    the label where no rubric is given beside it; a list in it is what the client sends where nobody gave any."""

    model_config = ConfigDict(extra="allow")

    messages: list[Any] = Field(min_length=1)
    ground_truth: str | dict[str, Any] | list[Any] | None = None
    kwargs: dict[str, Any] | None = None


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    parsed = parse(body, Body)
    last = len(parsed.messages) - 1
    conversation = turns(parsed.messages, "messages")
    if not conversation or conversation[-1].role != "assistant":
        raise invalid_at("messages", last, "the last message is what is judged; its `role` must be `assistant`")
    before, response = split_response(conversation)
    label = _label(parsed, rates=context.query.get("mode") == "likert")
    if "prompt" not in label.item:
        label = label.filled(prompt=as_messages(before))
    return ParsedRequest(build_request([(label, response)], context), reply, lambda item: label.place)


def _label(parsed: Body, rates: bool) -> Label:
    """`rates`: the URL asks for a mode without a rubric."""
    beside = {name: value for name, value in (parsed.model_extra or {}).items() if name in ITEM | OPTIONS}
    label = Label.of({**beside, **(parsed.kwargs or {})}, *(["kwargs"] if parsed.kwargs else []))
    truth = parsed.ground_truth
    if truth in (None, "") or isinstance(truth, list):
        return label
    if "rubric" in label.item or rates or label.options.get("mode") == "likert":
        return label.filled(reference=truth)
    found = Label.of(truth, "ground_truth")
    return Label(found.place, {**label.item, **found.item}, {**label.options, **found.options})


def reply(answer: wire.ScoreResponse) -> bytes:
    """`metrics` holds the criteria that have a verdict."""
    [result] = answer.results
    judged = result.score is not None
    how = "judged" if result.status == "ok" else "judged in part"
    why = f"{how}; coverage {result.coverage:g}" if judged else f"not judged; {missing_reason(answer.results)}"
    return to_json(
        {
            "score": result.score,
            "is_score_valid": judged,
            "reason": why,
            "metrics": {one.id: _metric(one) for one in result.criteria if one.met is not None},
            "error": None if judged else why,
        }
    )


def _metric(criterion: wire.CriterionResult) -> dict[str, Any]:
    """`score` is 1 where the response is as wanted: the criterion met, or a fault not."""
    met = bool(criterion.met)
    explanation = criterion.explanation or ("met" if met else "not met")
    data = {"met": met, "points": criterion.points, "p": criterion.p, "source": criterion.source}
    return {"score": float(met == (criterion.points >= 0)), "is_score_valid": True, "reason": explanation, "data": data}

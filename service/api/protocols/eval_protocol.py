"""eval-protocol's remote reward function, `POST /evaluate` (read in release 0.3.33).

Its server takes arguments in `kwargs`, its client sends them beside `messages`: both are read. Its client keeps `score`
and drops `is_score_valid`, so a score that is not there is null, which that client refuses, and never 0.
"""

from typing import Any

from pydantic import ConfigDict, Field

from service.api.protocols.common import ITEM, OPTIONS, Asking, Foreign, Label, parse, request_of
from service.api.protocols.messages import sent, turns
from service.api.protocols.replying import reason, written
from service.api.request_body import unserved
from service.api.spoken import Spoken
from trainer_client import wire


class Body(Foreign):
    """`messages` end with the response. `ground_truth` is a reference, or the label where no rubric is given beside it;
    a list in it is what the client sends where nobody gave any."""

    model_config = ConfigDict(extra="allow")

    messages: list[Any] = Field(min_length=1)
    ground_truth: str | dict[str, Any] | list[Any] | None = None
    kwargs: dict[str, Any] | None = None


def read(body: bytes, asking: Asking) -> Spoken:
    """Raises InvalidRequest."""
    asked = parse(body, Body)
    last = len(asked.messages) - 1
    said = turns(asked.messages, "messages")
    if not said or said[-1].role != "assistant":
        raise unserved("messages", last, "the last message is what is judged; its `role` must be `assistant`")
    label = _label(asked, rates=asking.query.get("mode") == "likert")
    if "prompt" not in label.item:
        label = label.filled(prompt=sent(said[:-1]))
    return Spoken(request_of([(label, said[-1].content)], asking), reply)


def _label(asked: Body, rates: bool) -> Label:
    """`rates`: the URL asks for a mode without a rubric."""
    beside = {name: value for name, value in (asked.model_extra or {}).items() if name in ITEM | OPTIONS}
    label = Label.of({**beside, **(asked.kwargs or {})}, *(["kwargs"] if asked.kwargs else []))
    truth = asked.ground_truth
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
    why = f"judged; coverage {result.coverage:g}" if judged else f"not judged; {reason(answer.results)}"
    return written(
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
    told = criterion.explanation or ("met" if met else "not met")
    data = {"met": met, "points": criterion.points, "p": criterion.p, "source": criterion.source}
    return {"score": float(met == (criterion.points >= 0)), "is_score_valid": True, "reason": told, "data": data}

"""Translates System One, `POST /v1/systemone` (TypeSafe's OpenAPI 0.2.0, SDK 0.7.5): typed questions about a state.

A state with a `submission` is a response to judge: `input` is its conversation, `reference_submission` the reference
answer, `guidelines` the system's turn. Any other state is itself what is judged, as text or as JSON.

Guarantees: the ids of questions are shown to no judge. What was not judged has no place in a reply, so the request
fails with the protocol's error.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from starlette.responses import Response

from service.api import problems
from service.api.bodies.parsing import ParsedRequest, invalid_at, read
from service.api.protocols import typed_questions
from service.api.protocols.common import (
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    may_come_later,
    missing_reason,
    missing_verdicts,
    options_of,
    to_json,
    validated,
)
from service.api.protocols.messages import as_messages, turns
from service.api.protocols.typed_questions import TypedQuestion
from service.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    NotJudged,
    QuotaExceeded,
    RubricdError,
    Unauthorized,
)
from trainer_client import wire

_OF_A_SUBMISSION = frozenset({"submission", "input", "reference_submission", "guidelines", "documents"})
_ERROR_TYPES: Mapping[type[RubricdError], str] = {
    Unauthorized: "authentication_error",
    Forbidden: "permission_error",
    BodyTooLarge: "max_tokens_exceeded",
    QuotaExceeded: "rate_limit_error",
}

Content = str | dict[str, Any] | list[Any]


class Question(ForeignBody):
    """`criteria` are the sides of a `noul`, the options of a `choice` or the levels of a `score`."""

    type: str
    instructions: Content | None = None
    criteria: dict[str, Content | None] | list[Content] | None = None


class Body(ForeignBody):
    """`model` may be a judge of this deployment. Another name is ignored: the reply names the judge that answered."""

    model: str = ""
    state: Content
    questions: dict[str, Question] = Field(min_length=1)


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    data = read(body, problems.names_of(Body))
    parsed = validated(data, Body)
    named = context.judge_of(parsed.model)
    most = context.most_options({**options_of(context.query), **named})
    numbered = enumerate(parsed.questions.items())
    asked = {id: _typed(question, most, "questions", _named(id, at)) for at, (id, question) in numbered}
    shared, response = _judged(parsed.state)
    rubrics = typed_questions.rubrics([*asked.values()], context.limits.max_criteria)
    labels = [Label((), {"rubric": rubric, **shared}, named) for rubric in rubrics]
    request = build_request([(label, response) for label in labels], context)
    if request.mode not in ("verdict", "reasoned"):
        raise invalid_at("query", "questions are answered one by one, in mode `verdict` or `reasoned`")
    return ParsedRequest(request, lambda answer: _reply(answer, parsed.questions, asked))


def _named(id: str, at: int) -> str | int:
    """A question in a place: its id where that is a name, else its number, since ids may be texts of any kind."""
    return id if problems.may_be_named(id) else at


def _judged(state: Content) -> tuple[dict[str, Any], str]:
    """What of an item a state holds, and the response."""
    if not isinstance(state, dict) or not _is_submission(state):
        return {"prompt": []}, _text(state)
    guidelines, asked, reference = (state.get(name) for name in ("guidelines", "input", "reference_submission"))
    prompt = [] if guidelines is None else [{"role": "system", "content": _text(guidelines)}]
    shared: dict[str, Any] = {"prompt": prompt + _conversation(asked)}
    if reference is not None:
        shared["reference"] = _text(reference)
    if state.get("documents"):
        shared["documents"] = state["documents"]
    return shared, _text(state["submission"])


def _is_submission(state: dict[str, Any]) -> bool:
    if "submission" not in state or state.keys() - _OF_A_SUBMISSION:
        return False
    documents = state.get("documents") or []
    return isinstance(documents, list) and all(isinstance(one, str) and one for one in documents)


def _conversation(asked: Content | None) -> list[dict[str, Any]]:
    if asked is None:
        return []
    if isinstance(asked, list) and asked:
        try:
            return as_messages(turns(asked, "state", "input"))
        except InvalidRequest:
            pass  # a list that is no conversation is text, as any other content is
    return [{"role": "user", "content": _text(asked)}]


def _typed(question: Question, most_options: int, *place: str | int) -> TypedQuestion:
    instructions = "" if question.instructions is None else _text(question.instructions)
    match question.type, question.criteria:
        case "noul", dict() | None as sides:
            return _noul(instructions, sides or {}, *place)
        case "choice", dict() as named:
            described = [(name, "" if text is None else _text(text)) for name, text in named.items()]
            return typed_questions.options(instructions, described, most_options, *place, "criteria")
        case "score", list() as levels:
            said = [_text(level) for level in levels]
            return typed_questions.levels(instructions, said, most_options, *place, "criteria")
        case "noul" | "choice" | "score" as kind, _:
            wanted = {"noul": "an object with `true` and `false`", "choice": "an object of options"}
            raise invalid_at(*place, "criteria", f"the criteria of a {kind} are {wanted.get(kind, 'a list of levels')}")
    raise invalid_at(*place, "type", "this judge answers questions of type `noul`, `choice` and `score` about text")


def _noul(instructions: str, sides: Mapping[str, Content | None], *place: str | int) -> TypedQuestion:
    if sides.keys() - {"true", "false"}:
        raise invalid_at(*place, "criteria", "the criteria of a noul are `true` and `false`")
    described = [f"{side}: {_text(text)}" for side, text in sides.items() if text is not None]
    return typed_questions.predicate("\n".join(filter(None, [instructions, *described])), *place, "instructions")


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _reply(answer: wire.ScoreResponse, questions: Mapping[str, Question], asked: Mapping[str, TypedQuestion]) -> bytes:
    found = typed_questions.answers([*asked.values()], answer.results)
    answers = {id: _answer(questions[id], asked[id], p) for id, p in zip(questions, found, strict=True)}
    if missing := [id for id, one in answers.items() if one is None]:
        if missing_verdicts(answer.results).keys() == {"too_long"}:  # it is so each time, so it is no 503
            raise BodyTooLarge("the state and the longest question are more than this judge reads; shorten the state")
        why = missing_reason(answer.results) if missing_verdicts(answer.results) else "no option is likely at all"
        again_s = 1.0 if may_come_later(answer.results) else None
        raise NotJudged(f"{len(missing)} of {len(answers)} questions have no answer; {why}", again_s)
    usage = {"input_tokens": answer.usage.prompt_tokens, "output_tokens": answer.usage.completion_tokens}
    return to_json({"model": answer.judge.name or answer.judge.model, "answers": answers, "usage": usage})


def _answer(question: Question, asked: TypedQuestion, p: tuple[float, ...] | None) -> dict[str, Any] | None:
    if p is None:
        return None
    if question.type == "noul":
        return {"type": "noul", "noul": p[0]}
    shares = typed_questions.distribution(p)
    if shares is None:
        return None
    if isinstance(question.criteria, dict):
        probabilities = dict(zip(question.criteria, shares, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        confidence = typed_questions.choice_confidence(shares)
        return {
            "type": "choice",
            "choice": best,
            "confidence": confidence,
            "probabilities": probabilities,
            "x_reading": asked.reading,
        }
    levels = question.criteria or []
    return {
        "type": "score",
        "score": typed_questions.expected(shares),
        "confidence": typed_questions.score_confidence(shares),
        "legend": {str(at): level for at, level in enumerate(levels)},
        "probabilities": {str(at): share for at, share in enumerate(shares)},
        "x_reading": asked.reading,
    }


def models(judges: Sequence[tuple[str, str]]) -> bytes:
    """The judges, by name and fingerprint, in System One's list and, beside it, in OpenAI's. When they were released is
    not known, so the date is an empty text, which readers of the first list need."""
    named = [(Path(name).name, fingerprint) for name, fingerprint in judges]
    ours = [
        {"name": name, "description": f"the judge with fingerprint {fingerprint}", "release_date": ""}
        for name, fingerprint in named
    ]
    theirs = [{"id": name, "object": "model", "owned_by": "rubricd"} for name, _ in named]
    return to_json({"models": ours, "object": "list", "data": theirs})


def error_response(error: RubricdError, request_id: str) -> Response:
    """The protocol's form of an error: a list of places for a body that is not valid, else a type and a message."""
    status = problems.STATUS.get(type(error), 500)
    detail: Any
    if status == 422:
        places = error.errors if isinstance(error, InvalidRequest) else ()
        detail = [
            {"loc": ["body", *loc], "msg": message, "type": "value_error"}
            for loc, message in places or [((), str(error))]
        ]
    else:
        message = str(error) if status != 500 else "the service failed; its log has the request id"
        detail = {"error_type": _ERROR_TYPES.get(type(error), error.code), "message": message}
    after_s = getattr(error, "retry_after_s", None)
    headers = {} if after_s is None else {"Retry-After": str(math.ceil(after_s))}
    return Response(
        to_json({"detail": detail, "request_id": request_id}), status, headers, media_type="application/json"
    )

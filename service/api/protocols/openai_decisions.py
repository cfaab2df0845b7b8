"""Translates OpenAI's decisions route, `POST /v1/decisions` (read in SDK 3.52): questions about an input.

The last message of the input is judged, those before it are its conversation; a string is one message. A question
without a verdict is a `refusal`, as the protocol calls it.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from service.api import problems
from service.api.bodies.parsing import ParsedRequest, invalid_at, read
from service.api.protocols import typed_questions
from service.api.protocols.common import (
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    options_of,
    to_json,
    validated,
)
from service.api.protocols.messages import Turn, as_messages, as_response, text, turns
from service.api.protocols.typed_questions import TypedQuestion
from trainer_client import wire


class Choice(ForeignBody):
    value: str | bool
    description: str | None = None

    @property
    def name(self) -> str:
        """The value as the judge reads it."""
        return self.value if isinstance(self.value, str) else str(self.value).lower()


class Level(ForeignBody):
    label: str
    description: str | None = None


class Question(ForeignBody):
    type: str
    instructions: str | list[Any]
    name: str | None = None
    choices: list[Choice] = Field(default_factory=list)
    levels: list[Level] = Field(default_factory=list)


class Body(ForeignBody):
    """`model` may be a judge of this deployment. Another name is ignored: the reply names the judge that answered."""

    model: str
    input: str | list[Any]
    questions: list[Question] = Field(min_length=1, max_length=400)


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    data = read(body, problems.names_of(Body))
    parsed = validated(data, Body)
    conversation = [Turn("user", parsed.input)] if isinstance(parsed.input, str) else turns(parsed.input, "input")
    if not conversation:
        raise invalid_at("input", "the input is empty, so there is nothing to judge")
    named = context.judge_of(parsed.model)
    most = context.most_options({**options_of(context.query), **named})
    asked = [_typed(question, most, "questions", place) for place, question in enumerate(parsed.questions)]
    shared = {"prompt": as_messages(conversation[:-1])}
    rubrics = typed_questions.rubrics(asked, context.limits.max_criteria)
    last = conversation[-1]
    response = as_response([last]) if last.calls else last.content
    request = build_request([(Label((), {"rubric": rubric, **shared}, named), response) for rubric in rubrics], context)
    if request.mode not in ("verdict", "reasoned"):
        raise invalid_at("query", "questions are answered one by one, in mode `verdict` or `reasoned`")
    return ParsedRequest(request, lambda answer: reply(answer, parsed.questions, asked))


def _typed(question: Question, most_options: int, *place: str | int) -> TypedQuestion:
    instructions = text(question.instructions, *place, "instructions")
    match question.type:
        case "predicate":
            return typed_questions.predicate(instructions, *place, "instructions")
        case "choice":
            if len({(type(one.value), one.value) for one in question.choices}) < len(question.choices):
                raise invalid_at(*place, "choices", "two choices have one value")
            described = [(one.name, one.description or "") for one in question.choices]
            return typed_questions.options(instructions, described, most_options, *place, "choices")
        case "score":
            labelled = [": ".join(filter(None, (one.label, one.description))) for one in question.levels]
            return typed_questions.levels(instructions, labelled, most_options, *place, "levels")
    raise invalid_at(*place, "type", "this judge answers questions of type `predicate`, `choice` and `score`")


def reply(answer: wire.ScoreResponse, questions: Sequence[Question], asked: Sequence[TypedQuestion]) -> bytes:
    found = typed_questions.answers(asked, answer.results)
    usage = answer.usage
    return to_json(
        {
            "model": answer.judge.name or answer.judge.model,
            "answers": [_answer(*one) for one in zip(questions, asked, found, strict=True)],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }
    )


def _answer(question: Question, asked: TypedQuestion, p: tuple[float, ...] | None) -> dict[str, Any]:
    head = {"type": question.type, "name": question.name}
    if p is not None and question.type == "predicate":
        return {**head, "probability": p[0]}
    shares = None if p is None else typed_questions.distribution(p)
    if shares is None:
        return {**head, "type": "refusal"}
    read = {"x_reading": asked.reading}
    if question.type == "choice":
        values = [one.value for one in question.choices]
        probabilities: list[dict[str, Any]] = [
            {"value": value, "probability": share} for value, share in zip(values, shares, strict=True)
        ]
        best = values[shares.index(max(shares))]
        confidence = typed_questions.choice_confidence(shares)
        return {**head, "choice": best, "confidence": confidence, "probabilities": probabilities, **read}
    probabilities = [
        {"value": at, "label": level.label, "probability": share}
        for at, (level, share) in enumerate(zip(question.levels, shares, strict=True))
    ]
    score, confidence = typed_questions.expected(shares), typed_questions.score_confidence(shares)
    return {**head, "score": score, "confidence": confidence, "probabilities": probabilities, **read}

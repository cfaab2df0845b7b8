"""Translates OpenAI's decisions route, `POST /v1/decisions` (read in SDK 3.52): questions about an input.

A judge of rubrics answers `predicate` questions, each with a probability. The last message of the input is judged,
those before it are its conversation; a string is one message. A question without a verdict is a `refusal`, as the
protocol calls it.
"""

from typing import Any

from pydantic import Field

from service.api.protocols.common import ForeignBody, Label, TranslationContext, build_request, parse, to_json
from service.api.protocols.messages import Turn, as_messages, as_response, text, turns
from service.api.request_body import ParsedRequest, invalid_at
from trainer_client import wire


class Question(ForeignBody):
    type: str
    instructions: str | list[Any]
    name: str | None = None


class Body(ForeignBody):
    """`model` is ignored: the reply names the judge that answered."""

    model: str
    input: str | list[Any]
    questions: list[Question] = Field(min_length=1, max_length=400)


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    parsed = parse(body, Body)
    conversation = [Turn("user", parsed.input)] if isinstance(parsed.input, str) else turns(parsed.input, "input")
    if not conversation:
        raise invalid_at("input", "the input is empty, so there is nothing to judge")
    rubric = [_criterion(question, place) for place, question in enumerate(parsed.questions)]
    label = Label((), {"rubric": rubric, "prompt": as_messages(conversation[:-1])}, {})
    last = conversation[-1]
    response = as_response([last]) if last.calls else last.content
    request = build_request([(label, response)], context)
    if request.mode not in ("verdict", "reasoned"):
        raise invalid_at("query", "questions are answered one by one, in mode `verdict` or `reasoned`")
    return ParsedRequest(request, lambda answer: reply(answer, parsed.questions))


def _criterion(question: Question, place: int) -> dict[str, Any]:
    if question.type != "predicate":
        raise invalid_at(
            "questions",
            place,
            "type",
            "this judge answers `predicate` (P(true)); send a choice as one question for each option",
        )
    instructions = text(question.instructions, "questions", place, "instructions")
    if not wire.says_something(instructions):
        raise invalid_at("questions", place, "instructions", "a question must say something")
    return {"text": instructions, "points": 1}


def reply(answer: wire.ScoreResponse, questions: list[Question]) -> bytes:
    [result] = answer.results
    usage = answer.usage
    return to_json(
        {
            "model": answer.judge.model,
            "answers": [_answer(*pair) for pair in zip(questions, result.criteria, strict=True)],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }
    )


def _answer(question: Question, criterion: wire.CriterionResult) -> dict[str, Any]:
    if criterion.status != "ok" or criterion.p is None:
        return {"type": "refusal", "name": question.name}
    return {"type": "predicate", "name": question.name, "probability": criterion.p}

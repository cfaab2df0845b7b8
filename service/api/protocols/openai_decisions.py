"""OpenAI's decisions route, `POST /v1/decisions` (read in SDK 3.52): questions about an input, each with a probability.

A judge of rubrics answers `predicate` questions. The last message of the input is what is judged, those before it are
its conversation; a string is one message. A question without a verdict is a `refusal`, which is the protocol's word.
"""

from typing import Any

from pydantic import Field

from service.api.protocols.common import Asking, Foreign, Label, parse, request_of
from service.api.protocols.messages import Spoke, sent, text, turns
from service.api.protocols.replying import written
from service.api.request_body import unserved
from service.api.spoken import Spoken
from trainer_client import wire


class Question(Foreign):
    type: str
    instructions: str | list[Any]
    name: str | None = None


class Body(Foreign):
    """`model` is let be: the reply names the judge that answered."""

    model: str
    input: str | list[Any]
    questions: list[Question] = Field(min_length=1, max_length=400)


def read(body: bytes, asking: Asking) -> Spoken:
    """Raises InvalidRequest."""
    asked = parse(body, Body)
    said = [Spoke("user", asked.input)] if isinstance(asked.input, str) else turns(asked.input, "input")
    if not said:
        raise unserved("input", "there is nothing to ask about")
    rubric = [_criterion(question, place) for place, question in enumerate(asked.questions)]
    label = Label((), {"rubric": rubric, "prompt": sent(said[:-1])}, {})
    request = request_of([(label, said[-1].content)], asking)
    if request.mode not in ("verdict", "reasoned"):
        raise unserved("query", "questions are answered one by one, in mode `verdict` or `reasoned`")
    return Spoken(request, lambda answer: reply(answer, asked.questions))


def _criterion(question: Question, place: int) -> dict[str, Any]:
    if question.type != "predicate":
        raise unserved(
            "questions", place, "type", "this judge answers `predicate` (P(true)); ask a choice as one for each option"
        )
    asked = text(question.instructions, "questions", place, "instructions")
    if not asked.strip():
        raise unserved("questions", place, "instructions", "a question must say something")
    return {"text": asked, "points": 1}


def reply(answer: wire.ScoreResponse, questions: list[Question]) -> bytes:
    [result] = answer.results
    usage = answer.usage
    return written(
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

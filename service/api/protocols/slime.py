"""Translates slime's remote reward model, `POST /rm` (`--rm-type remote_rm --rm-url`): the reply's JSON is the reward.

With `?reply=object` the reply is an object, for `--reward-key reward`. Such a reply has fields that mark a neutral
number in place of a missing reward, and a reward of a rubric that was judged in part; a bare number is neither.
"""

from typing import Any

from service.api.bodies.parsing import ParsedRequest, invalid_at
from service.api.protocols.common import (
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    not_judged,
    parse,
    strip_end_tokens,
    to_json,
)
from service.api.protocols.messages import as_messages, turns
from trainer_client import wire

REPLIES = ("number", "object")


class Body(ForeignBody):
    """One sample. `prompt` is text, or the messages where slime applies no chat template."""

    prompt: str | list[Any]
    response: str
    label: Any = None


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    parsed = parse(body, Body)
    if context.query.get("reply", "number") not in REPLIES:
        raise invalid_at("query", "`reply` is `number` or `object`")
    label = Label.of(parsed.label, "label")
    if isinstance(parsed.prompt, str):
        label = label.behind(parsed.prompt)
    if "prompt" not in label.item:
        label = label.filled(prompt=_prompt(parsed.prompt))
    response = strip_end_tokens(parsed.response, context.end_tokens)
    request = build_request([(label, response)], context, others=["reply"])
    if request.unjudged is not None and context.query.get("reply") != "object":
        raise invalid_at("query", "`unjudged` needs `reply=object`: a bare number cannot be marked as partial")
    return ParsedRequest(request, lambda answer: reply(answer, context), lambda item: label.place)


def _prompt(prompt: str | list[Any]) -> Any:
    return prompt if isinstance(prompt, str) else as_messages(turns(prompt, "prompt"))


def reply(answer: wire.ScoreResponse, context: TranslationContext) -> bytes:
    """Raises NotJudged where no number may stand for the reward."""
    [result] = answer.results
    whole = context.query.get("reply") == "object"
    reward = result.score
    if reward is None:
        if not whole or context.neutral is None:
            raise not_judged(answer.results)
        reward = context.neutral
        context.count_neutral(1)
    if not whole:
        return to_json(reward)
    marks = {"judged": result.score is not None, "partial": result.status == "partial", "coverage": result.coverage}
    return to_json({"reward": reward, **marks})

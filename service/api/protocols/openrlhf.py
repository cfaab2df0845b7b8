"""Translates OpenRLHF's remote reward model, `POST /get_reward` (`--reward.remote_url`; read in release 0.11.2).

OpenRLHF makes tensors of `rewards`, `scores` and every list of `extra_logs`, so all of them are numbers, and there is
no value for a missing reward.
"""

from typing import Any

from pydantic import Field

from service.api.bodies.parsing import ParsedRequest, invalid_at
from service.api.protocols.common import (
    ForeignBody,
    Label,
    TranslationContext,
    build_request,
    check_labels,
    not_judged,
    parse,
    strip_end_tokens,
    to_json,
)
from trainer_client import wire


class Body(ForeignBody):
    """One entry a response: `query` is prompt and answer decoded with special tokens, `labels` hold the rubrics."""

    query: list[str] = Field(min_length=1)
    prompts: list[str]
    labels: list[Any]


def parse_request(body: bytes, context: TranslationContext) -> ParsedRequest:
    """Raises InvalidRequest."""
    parsed = parse(body, Body)
    if not len(parsed.query) == len(parsed.prompts) == len(parsed.labels):
        lengths = f"{len(parsed.query)}, {len(parsed.prompts)} and {len(parsed.labels)}"
        raise invalid_at("query", f"`query`, `prompts` and `labels` must be equally long; they hold {lengths}")
    if len(parsed.query) > context.limits.max_items:
        raise invalid_at("query", f"{len(parsed.query)} responses in one request; at most {context.limits.max_items}")
    check_labels(parsed.labels, "labels")
    rows = enumerate(zip(parsed.query, parsed.prompts, parsed.labels, strict=True))
    responses = [
        (Label.of(label, "labels", row).behind(prompt).filled(prompt=prompt), _answer(row, query, prompt, context))
        for row, (query, prompt, label) in rows
    ]
    request = build_request(responses, context)
    return ParsedRequest(request, lambda answer: reply(answer, context), lambda item: responses[item][0].place)


def _answer(row: int, query: str, prompt: str, context: TranslationContext) -> str:
    if not query.startswith(prompt):
        raise invalid_at(
            "query",
            row,
            "does not begin with `prompts` of the same place, so it is unknown where the response begins; OpenRLHF "
            "cuts long prompts from the left: raise its maximal length, or leave such prompts out",
        )
    return strip_end_tokens(query[len(prompt) :], context.end_tokens)


def reply(answer: wire.ScoreResponse, context: TranslationContext) -> bytes:
    """`extra_logs.judged` is 0 where `neutral` stands for a reward. Raises NotJudged where there is no `neutral`."""
    results = answer.results
    unjudged = sum(result.score is None for result in results)
    if unjudged and context.neutral is None:
        raise not_judged(results)
    rewards = [context.neutral if result.score is None else result.score for result in results]
    if unjudged:
        context.count_neutral(unjudged)
    extra_logs = {
        "judged": [float(result.score is not None) for result in results],
        "partial": [float(result.status == "partial") for result in results],
        "coverage": [result.coverage for result in results],
    }
    return to_json({"rewards": rewards, "scores": rewards, "extra_logs": extra_logs})

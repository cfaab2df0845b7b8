"""Defines `POST /v1/compare`: pairs of responses to compare, and which of the two a judge prefers.

Guarantees: a pair that was not judged has no P, and a status that says why; one half is a judge's word and no default.
"""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from trainer_client.wire.models import MAX_DEADLINE_MS, Answer, CacheUse, Documents, Id, Metadata, Strict, is_none
from trainer_client.wire.request import Priority, Reasoning, check_pitfalls
from trainer_client.wire.response import CriterionStatus, Judge, ResultWarning, Usage
from trainer_client.wire.rubric import Pitfalls, Rubric, first_repeated
from trainer_client.wire.turns import Response, Turns

Shown = Literal["a", "b"]


class PairItem(Strict):
    """Two responses to one conversation, under one rubric or none."""

    id: Id | None = Field(default=None, description="Echoed; default: the index as text.")
    prompt: str | Turns = Field(description="The conversation before the responses; a string is one user turn.")
    a: Response = Field(description="One response, as in `POST /v1/score`.")
    b: Response = Field(description="The other response.")
    rubric: Rubric | None = Field(
        default=None,
        description="What the better response satisfies better; the judge sees it whole. Without one the better "
        "response is the more accurate, complete, coherent and helpful one.",
    )
    reference: str | None = Field(default=None, description="A reference answer, seen by the judge only.")
    documents: Documents | None = Field(
        default=None,
        exclude_if=is_none,
        description="Texts that the judge reads beside the conversation, such as sources to check the response with. "
        "Nobody else sees them.",
    )
    metadata: Metadata | None = Field(default=None, description="Carried to the result, unread.")

    def result_id(self, index: int) -> str:
        """The id of its result, given its place in the request."""
        return str(index) if self.id is None else self.id


_EXAMPLE: dict[str, Any] = {
    "items": [
        {
            "prompt": "My knee hurts when I run. What should I do?",
            "a": "Rest for a few days, put ice on it, and see a doctor if it does not get better.",
            "b": "Run on.",
            "rubric": [{"text": "Tells the user to see a doctor.", "points": 5}],
        }
    ]
}


class CompareRequest(Strict):
    """The body of `POST /v1/compare`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    items: list[PairItem] = Field(min_length=1, description="The pairs.")
    reasoning: Reasoning = Field(
        default="keep", description="Whether the reasoning in a response is taken off before the judge sees it."
    )
    pitfalls: Pitfalls | None = Field(
        default=None,
        description="What meeting a pitfall of Rubrics as Rewards means. Without it a criterion of category pitfall "
        "with negative points needs a `polarity`.",
    )
    deadline_ms: int | None = Field(
        default=None,
        gt=0,
        le=MAX_DEADLINE_MS,
        description="Milliseconds from its arrival; what has no answer then has status `timeout`. null: no end.",
    )
    priority: Priority = Field(default="train", description="The class in which a team's own requests share the judge.")
    cache: CacheUse = Field(default="use", description="As in `POST /v1/score`.")
    judge: Id | None = Field(default=None, description="The name of the deployment's judge; null: its first one.")
    expect_judge: Id | None = Field(default=None, description="The fingerprint of the judge in mode `compare`.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if same := first_repeated(item.result_id(index) for index, item in enumerate(self.items)):
            raise ValueError(f"items {same[0]} and {same[1]} have one id; ids must be distinct")
        for place, item in enumerate(self.items):
            if item.rubric is not None and self.pitfalls is None:
                check_pitfalls(item.rubric, f" of item {place}")
        return self


class OneOrder(Answer):
    """The judge's answer in one order of the two responses."""

    first: Shown = Field(description="The response that was shown first.")
    p: float | None = Field(description="P(a is better), in this order; also where it is an abstention.")
    label_mass: float | None = Field(description="The labels' share of the probability of the whole vocabulary.")
    source: Literal["judge", "cache"] = Field(description="Who gave the answer.")


class Comparison(Answer):
    """Which of two responses the judge prefers."""

    id: str = Field(description="The item's.")
    status: CriterionStatus = Field(description="`ok`, or why there is no answer.")
    p: float | None = Field(
        description="P(a is better) of both orders: the mean of their log-odds, so that P(a) + P(b) = 1 whichever is "
        "called a. null unless `status` is `ok`."
    )
    p_raw: float | None = Field(description="As the judge gave it; an abstention has it, too.")
    label_mass: float | None = Field(description="The smaller one of the two orders.")
    order_effect: float | None = Field(
        description="P(a is better) with a first, less that with b first: above 0 the judge prefers what it reads "
        "first."
    )
    orders: list[OneOrder] = Field(description="With a first, and with b first.")
    detail: str | None = Field(default=None, description="For a status other than `ok`: the reason, or what to do.")
    warnings: list[ResultWarning] = Field(
        default_factory=list, description="Such as `orders_disagree`, `reasoning_kept` and `toy_judge`."
    )
    metadata: dict[str, Any] | None = Field(default=None, description="The item's, as it was sent.")


class CompareResponse(Answer):
    """The answer of `POST /v1/compare`; `results` are in the order of the items."""

    id: str = Field(description="The request's id, as in `X-Request-Id` and in the log.")
    judge: Judge = Field(description="The judge that compared.")
    results: list[Comparison] = Field(description="One a pair.")
    usage: Usage = Field(description="What the request cost.")

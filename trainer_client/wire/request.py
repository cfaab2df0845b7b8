"""Defines what a caller sends: items to score and the options of `POST /v1/score`, and a rubric to lint."""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from trainer_client.wire.aggregations import LINEAR, Aggregation, aggregation_name
from trainer_client.wire.models import (
    MAX_DEADLINE_MS,
    Batch,
    CacheUse,
    Documents,
    Id,
    Layout,
    Metadata,
    Mode,
    Strict,
    Unjudged,
    is_none,
    says_something,
)
from trainer_client.wire.reasoning import Tags
from trainer_client.wire.rubric import Pitfalls, Rubric, first_repeated
from trainer_client.wire.turns import Response, Turns

Priority = Literal["train", "eval", "interactive"]
RatingNorm = Literal["(r-1)/9", "r/10"]
MAX_TAG_CHARACTERS = 256

_SAY_PITFALLS = "say `pitfalls`: `met_is_good` or `met_is_bad`, or give the criterion a `polarity`"


class ReasoningTags(Strict):
    """The tags of a policy's reasoning, where they are not those of a common family."""

    open: str = Field(min_length=1, max_length=MAX_TAG_CHARACTERS, description="The text that begins the reasoning.")
    close: str = Field(min_length=1, max_length=MAX_TAG_CHARACTERS, description="The text that ends it.")
    prefilled: bool | None = Field(
        default=None,
        description="Whether the policy's chat template writes `open`, so that responses begin inside; null: it may.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.open == self.close or not (says_something(self.open) and says_something(self.close)):
            raise ValueError("`open` and `close` are two different texts that can be seen")
        return self

    def tags(self) -> Tags:
        return Tags(self.open, self.close, self.prefilled)


Reasoning = Literal["keep", "remove"] | ReasoningTags


class Item(Strict):
    """One response to score, or a GRPO group of them (`responses`) that shares prompt and rubric."""

    id: Id | None = Field(default=None, description="Echoed; default: the index as text.")
    prompt: str | Turns = Field(description="The conversation before the response; a string is one user turn.")
    response: Response | None = Field(
        default=None,
        description="The text to judge, may be empty; or a trajectory, the turns of assistant and tools.",
    )
    responses: list[Response] | None = Field(
        default=None, min_length=1, description="Instead of `response`: results are `id/0`, `id/1`, …, group `id`."
    )
    rubric: Rubric | None = Field(default=None, description="What to judge; only mode `likert` does without.")
    reference: str | None = Field(default=None, description="A reference answer, seen by the judge only.")
    documents: Documents | None = Field(
        default=None,
        exclude_if=is_none,
        description="Texts that the judge reads beside the conversation, such as sources to check the response with. "
        "Nobody else sees them.",
    )
    group: Id | None = Field(default=None, description="GRPO group; its items share a prompt.")
    metadata: Metadata | None = Field(default=None, description="Carried to the results of this item, unread.")

    @model_validator(mode="after")
    def _one_kind_of_response(self) -> Self:
        if (self.response is None) == (self.responses is None):
            raise ValueError("give exactly one of `response` and `responses`")
        if self.responses is not None and self.group is not None:
            raise ValueError("`responses` is a group of its own, named by the item's id; leave `group` out")
        return self

    def result_ids(self, index: int) -> list[str]:
        """The ids of this item's results, given its place in the request."""
        id = str(index) if self.id is None else self.id
        return [id] if self.responses is None else [f"{id}/{n}" for n in range(len(self.responses))]


_EXAMPLE: dict[str, Any] = {
    "items": [
        {
            "prompt": "My knee hurts when I run. What should I do?",
            "response": "Rest for a few days, put ice on it, and see a doctor if it does not get better.",
            "rubric": [
                {"text": "Tells the user to see a doctor.", "points": 5},
                {"text": "Recommends running through the pain.", "points": -6},
            ],
        }
    ]
}


class ScoreRequest(Strict):
    """The body of `POST /v1/score`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    items: list[Item] = Field(
        min_length=1, description="One item may also stand without a list, its fields beside the options."
    )
    mode: Mode = Field(
        default="verdict", description="How the judge is asked; `GET /v1/judge` lists the modes that this one serves."
    )
    aggregation: Aggregation = Field(
        default="healthbench", description="How verdicts become a score: a name, or an object with its options."
    )
    layout: Layout = Field(default="rubricd", description="The order and the words of the judge's prompt.")
    judge_prompt: Id | None = Field(
        default=None,
        description="Mode `verdict` in layout `rubricd`: the name of a prompt that is served; null: the default.",
    )
    consistency: Literal[1, 2] = Field(
        default=1,
        description="2: each criterion is asked twice, whether it is true and whether it is false. P(met) is of both "
        "answers, and `disagreement` says how far they are apart. Mode `verdict`, layout `rubricd`.",
    )
    votes: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Mode `reasoned`: so many written verdicts a criterion; P(met) is their share.",
    )
    batch: Batch | None = Field(
        default=None,
        description="Mode `reasoned`, layout `rubricd`: `all` has all criteria of a response answered in one document, "
        "so that a verdict may depend on the other criteria; null: each is asked by itself.",
    )
    rating_norm: RatingNorm = Field(default="(r-1)/9", description="Rating modes: how 1..10 becomes the score.")
    soft: bool = Field(default=False, description="Count P(met) itself in place of met or not met.")
    threshold: float = Field(default=0.5, ge=0, le=1, description="A criterion is met where P(met) is at or above it.")
    min_coverage: float = Field(
        default=1.0, ge=0, le=1, description="Share of the counted |points| that must be judged for a score."
    )
    unjudged: Unjudged | None = Field(
        default=None,
        description="The score where `coverage` is below 1 and at least `min_coverage`: the lower bound, the middle of "
        "the bounds, or null. Its `status` is `partial`.",
    )
    debias: bool = Field(
        default=False,
        description="Correct the score for the judge's errors by its certificate, so that its mean is right; the "
        "bounds then hold the score without errors with 95 %.",
    )
    reasoning: Reasoning = Field(
        default="keep",
        description="Whether the reasoning in a response is taken off before anybody, rules included, sees it: `keep`, "
        "`remove` (the tags of the common model families), or the tags.",
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
        description="Milliseconds from its arrival; what has no verdict then has status `timeout`. null: no end.",
    )
    priority: Priority = Field(default="train", description="The class in which a team's own requests share the judge.")
    cache: CacheUse = Field(
        default="use",
        description="`refresh` judges again what is known and keeps the new verdicts; `bypass` neither reads nor keeps "
        "any, and judges equal criteria each by itself.",
    )
    judge: Id | None = Field(
        default=None, description="The name of the deployment's judge or composition of judges; null: its first one."
    )
    expect_judge: Id | None = Field(
        default=None, description="A fingerprint: another judge refuses the request with 409, before any work."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_item(cls, data: Any) -> Any:
        if not holds_one_item(data):
            return data
        item = {name: data[name] for name in data if name in Item.model_fields}
        return {name: data[name] for name in data if name not in item} | {"items": [item]}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if same := first_repeated(id for i, item in enumerate(self.items) for id in item.result_ids(i)):
            raise ValueError(
                f"results {same[0]} and {same[1]} have one id; ids must be distinct (without one, the index is the id)"
            )
        if self.mode != "likert" and any(item.rubric is None for item in self.items):
            raise ValueError(f"mode `{self.mode}` needs a `rubric` in every item")
        if self.votes != 1 and self.mode != "reasoned":
            raise ValueError("`votes` has a meaning in mode `reasoned` only")
        if self.batch is not None and (self.mode, self.layout) != ("reasoned", "rubricd"):
            raise ValueError("`batch` has a meaning in mode `reasoned` and layout `rubricd` only; leave it out")
        if self.batch is not None and self.debias:
            raise ValueError("`debias` needs a certificate, which is of criteria asked one by one: without `batch`")
        if self.debias and (self.soft or self.votes != 1 or self.mode not in ("verdict", "reasoned")):
            raise ValueError("`debias` corrects hard verdicts, one a criterion: without `soft`, `votes`, rating modes")
        if self.debias and self.consistency != 1:
            raise ValueError("`debias` corrects single verdicts, which its certificate is of: without `consistency`")
        if self.debias and aggregation_name(self.aggregation) not in LINEAR:
            raise ValueError(f"`debias` needs an aggregation that is a weighted sum: {', '.join(LINEAR)}")
        if self.judge_prompt is not None and (self.mode, self.layout) != ("verdict", "rubricd"):
            raise ValueError("`judge_prompt` has a meaning in mode `verdict` and layout `rubricd` only")
        if self.consistency != 1 and (self.mode, self.layout) != ("verdict", "rubricd"):
            raise ValueError("`consistency` has a meaning in mode `verdict` and layout `rubricd` only")
        if self.rating_norm != "(r-1)/9" and self.mode not in ("implicit", "likert"):
            raise ValueError("`rating_norm` has a meaning in modes `implicit` and `likert` only")
        if self.pitfalls is None:
            for place, item in enumerate(self.items):
                if item.rubric is not None:
                    check_pitfalls(item.rubric, f" of item {place}")
        prompts: dict[str, Any] = {}
        for item in self.items:
            if item.group is not None and prompts.setdefault(item.group, item.prompt) != item.prompt:
                raise ValueError("items of one `group` must share their `prompt`")
        return self


def check_pitfalls(rubric: Rubric, of: str = "", *, remedy: str = _SAY_PITFALLS) -> None:
    """Raises ValueError for a pitfall of which nobody says what meeting it means. `of` says whose rubric it is."""
    for place, criterion in enumerate(rubric.criteria):
        if criterion.points < 0 and criterion.is_unsigned_pitfall:
            raise ValueError(
                f"criterion {place}{of} is a pitfall with negative points: some data sets describe a fault so, others "
                f"how to avoid one; {remedy}"
            )


def check_storable(rubric: Rubric) -> None:
    """Raises ValueError for a rubric that cannot be used as it is: what it means stands in itself, since a version is
    used by requests that do not know what it holds."""
    check_pitfalls(rubric, remedy="give the criterion a `polarity` (`negative`: what it describes is a fault)")


def holds_one_item(data: Any) -> bool:
    """Whether a body is one item, whose fields stand beside the options."""
    return isinstance(data, dict) and "items" not in data and not _OF_ONE_ITEM.isdisjoint(data)


_OF_ONE_ITEM = frozenset({"response", "responses", "rubric"})


class LintRequest(Strict):
    """The body of `POST /v1/rubrics/lint`."""

    rubric: Rubric = Field(description="The rubric to look at.")
    aggregation: Aggregation = Field(
        default="healthbench", description="The aggregation that it is for, since some findings depend on it."
    )
    reference: str | None = Field(
        default=None, description="The prompt's reference answer, to find criteria that copy it."
    )

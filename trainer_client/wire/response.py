"""Defines what the service answers: results, usage, problems, and the findings of a lint.

Guarantees: a missing verdict is null with a status that says why; no field has a default that could stand for one.
"""

from typing import Any, Literal

from pydantic import Field

from trainer_client.wire.judges import JudgeMember, MemberResult
from trainer_client.wire.models import Answer, AnyMode, Batch, Layout, is_none

CriterionStatus = Literal[
    "ok",
    "abstained",
    "timeout",
    "overloaded",
    "too_long",
    "unparseable",
    "verifier_error",
    "engine_error",
    "cancelled",
]
ResultStatus = Literal["ok", "partial", "failed"]
Source = Literal["judge", "cache", "rule"]
Trust = Literal["proven", "unproven", "failed"]


class Judge(Answer):
    """The judge that answered. Its fingerprint names it in this mode, layout and prompt; any change is a new judge."""

    model: str = Field(description="Its folder or name.")
    revision: str = Field(description="Of its weights: a hub's commit, or a digest.")
    engine: str = Field(description="What computes or asks it.")
    mode: AnyMode = Field(description="How it was asked.")
    layout: Layout = Field(description="The order and words of its prompt.")
    prompt: str | None = Field(default=None, description="Its prompt's name; null where mode and layout have one only.")
    fingerprint: str = Field(description="A hash over all that can change a verdict.")
    toy: bool = Field(default=False, description="The judge is for demonstrations and tests: believe no verdict of it.")
    calibration: str | None = Field(
        default=None, description="The name of the calibration that made `p` of `p_raw`; null where none is loaded."
    )
    uncalibrated: str | None = Field(
        default=None, description="The fingerprint that this judge has without any calibration. Older services: null."
    )
    trust: Trust | None = Field(
        default=None,
        description="`unproven`: in an exam of known answers it did no better than chance can, or it sat none. Older "
        "services: null.",
    )
    name: str | None = Field(
        default=None, exclude_if=is_none, description="Its name in a deployment that names its judges."
    )
    members: list[JudgeMember] | None = Field(
        default=None, exclude_if=is_none, description="What a composition is made of."
    )
    batch: Batch | None = Field(
        default=None,
        exclude_if=is_none,
        description="`all`: the criteria of a response are answered in one document.",
    )
    readings: dict[str, str] | None = Field(
        default=None, description="Fingerprints of how it reads `levels` and `extract`.", exclude_if=is_none
    )

    @property
    def doubt(self) -> str | None:
        """Why nobody should believe it without a look at labels."""
        return "a toy" if self.toy else self.trust if self.trust in ("unproven", "failed") else None


class CriterionResult(Answer):
    """One verdict, or the reason why there is none."""

    id: str = Field(description="The criterion's.")
    status: CriterionStatus = Field(description="`ok`, or why there is no verdict.")
    met: bool | None = Field(description="null unless `status` is `ok`.")
    p: float | None = Field(description="P(met), calibrated where a calibration is loaded.")
    p_raw: float | None = Field(description="P(met) as the judge gave it.")
    label_mass: float | None = Field(description="The labels' share of the probability of the whole vocabulary.")
    points: float = Field(description="As counted, polarity applied.")
    source: Source = Field(description="Who decided.")
    explanation: str | None = Field(default=None, description="The judge's reasons, in mode `reasoned`.")
    detail: str | None = Field(default=None, description="For a status other than `ok`: the reason, or what to do.")
    disagreement: float | None = Field(
        default=None,
        description="Where it was asked twice, or several judges were: how far apart their P(met) are, from 0 to 1.",
    )
    members: list[MemberResult] | None = Field(
        default=None, exclude_if=is_none, description="Of a composition: what each judge that was asked said."
    )
    level: int | None = Field(
        default=None, description="Graded criteria: the place of the level or choice, from 0.", exclude_if=is_none
    )
    p_levels: list[float] | None = Field(
        default=None, description="The probability of each level or choice, in order.", exclude_if=is_none
    )
    p_levels_raw: list[float] | None = Field(
        default=None,
        description="`p_levels` as the judge gave them, where a calibration changed them.",
        exclude_if=is_none,
    )
    value: float | None = Field(
        default=None,
        description="The expected value over `p_levels`, from 0 to 1; with `soft` it counts, else that of `level`.",
        exclude_if=is_none,
    )
    extracted: str | None = Field(
        default=None, description="What the judge extracted, as the rule saw it.", exclude_if=is_none
    )


class Rating(Answer):
    """The rating of a rating mode, on the judge's scale of 1..10."""

    expected: float = Field(description="The mean of its distribution.")
    most_likely: int = Field(description="The most probable rating.")
    normalised: float = Field(description="`expected` by `rating_norm`: the score.")


class ResultWarning(Answer):
    """Something about a result that a person should know. `code` is stable; `detail` says what to do."""

    code: str = Field(description="Such as `toy_judge`.")
    detail: str = Field(description="What it means, and what to do.")


class Result(Answer):
    """One response's score. `score` is null when too little was judged; it is never invented."""

    id: str = Field(description="The item's, or `id/0`, `id/1`, … of `responses`.")
    status: ResultStatus = Field(description="`ok`: all was judged; `partial`: a part; `failed`: nothing.")
    score: float | None = Field(description="null where something is unjudged, unless `unjudged` says what it is.")
    score_bounds: tuple[float, float] | None = Field(
        description="The score if every unjudged criterion went the worst and the best way; null if nothing counts. "
        "With `debias` they hold the score without errors of the judge with 95 %, and `score` may lie outside of them."
    )
    coverage: float = Field(description="Share of the counted |points| that was judged.")
    criteria: list[CriterionResult] = Field(
        description="In the order of the rubric; in the rating modes one entry `rating`, the rating's own status."
    )
    rating: Rating | None = Field(default=None, description="In modes `implicit` and `likert`.")
    warnings: list[ResultWarning] = Field(
        default_factory=list,
        description="Such as `reasoning_kept`, `reasoning_unfinished` and `answer_empty`.",
    )
    metadata: dict[str, Any] | None = Field(default=None, description="The item's, as it was sent.")


class Group(Answer):
    """Statistics over the valid scores of a GRPO group. `std` is the population's (divided by `valid`)."""

    id: str = Field(description="The group's.")
    n: int = Field(description="Responses.")
    valid: int = Field(description="Those with a score.")
    mean: float | None = Field(description="null where none is valid.")
    std: float | None = Field(description="null where none is valid.")
    zero_variance: bool | None = Field(description="All scores are equal; null where none is valid.")


class Usage(Answer):
    """The cost of the request. Tokens are the judge's."""

    judgements: int = Field(description="Queries that were sent to the judge.")
    cache_hits: int = Field(description="Queries answered from a cache.")
    deduplicated: int = Field(description="Queries answered by another one under way.")
    prompt_tokens: int = Field(description="Tokens of all prompts.")
    cached_tokens: int = Field(description="Those of them that were not computed again.")
    completion_tokens: int = Field(description="Tokens that the judge wrote.")
    cost: float | None = Field(
        default=None,
        description="In US dollars, as judges' servers report it; null where one reports none for a judgement, since "
        "the sum of the others is not the cost.",
    )


class ScoreResponse(Answer):
    """The answer of `POST /v1/score`; `results` are in the order of the items."""

    id: str = Field(description="The request's id, as in `X-Request-Id` and in the log.")
    judge: Judge = Field(description="The judge that scored.")
    results: list[Result] = Field(description="One a response.")
    groups: list[Group] | None = Field(default=None, description="Where items have groups or `responses`.")
    usage: Usage = Field(description="What the request cost.")


class StreamedResult(Result):
    """A line of the streamed answer: one result, sent as soon as it is finished."""

    index: int = Field(ge=0, description="Its place among the request's results, from 0.")


class StreamEnd(Answer):
    """The last line of the streamed answer; a stream that ends without it broke."""

    done: Literal[True] = Field(description="Marks the line.")
    id: str = Field(description="The request's id.")
    judge: Judge = Field(description="The judge that scored.")
    usage: Usage = Field(description="What the request cost.")
    groups: list[Group] | None = Field(default=None, description="As in a whole answer.")


class Place(Answer):
    """What is wrong with a request in one place of its body."""

    loc: list[str | int] = Field(description="The path into the body.")
    msg: str = Field(description="What to change there.")


class Problem(Answer):
    """An error, RFC 9457. The last part of `type` is the stable error code. Never holds text of the request."""

    type: str = Field(description="Ends in the code.")
    title: str = Field(description="The kind of error.")
    status: int = Field(description="That of HTTP.")
    detail: str = Field(description="What happened, and what to do.")
    request_id: str = Field(description="As in the log.")
    errors: list[Place] = Field(
        default_factory=list, description="The places in the body that are wrong, where there are some."
    )


class Finding(Answer):
    """Something about a rubric that a person should look at. `criterion` is null for the rubric as a whole."""

    code: str = Field(description="Names the rule that found it.")
    severity: Literal["error", "warning"] = Field(
        description="`error`: it is refused, gives no score or contradicts itself; `warning`: a person should look."
    )
    criterion: str | None = Field(description="The criterion's id; null for the rubric as a whole.")
    message: str = Field(description="`why` and `remedy` in one sentence.")
    why: str = Field(default="", description="What is wrong; empty from a service that is older than the field.")
    remedy: str = Field(default="", description="What to do.")


class LintResponse(Answer):
    """The answer of `POST /v1/rubrics/lint`."""

    findings: list[Finding] = Field(description="Those of the whole rubric first, then by criterion in its order.")

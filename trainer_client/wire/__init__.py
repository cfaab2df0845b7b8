"""The contract of `POST /v1/score`, and its one definition in code. Needs pydantic only.

Always true: input is strict (no unknown field, no number in a string, no boolean for a number, finite numbers only),
and a missing verdict is null with a status that says why; there is no default for it.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Mode = Literal["verdict", "reasoned", "implicit", "likert"]
Layout = Literal["rubricd", "healthbench"]
Priority = Literal["train", "eval", "interactive"]
Polarity = Literal["positive", "negative"]
Role = Literal["system", "developer", "user", "assistant", "tool"]
Aggregation = Literal[
    "healthbench",
    "healthbench_clipped",
    "rar_explicit",
    "weighted_abs",
    "all_pass",
    "mean",
    "min",
    "gated",
]
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
RatingNorm = Literal["(r-1)/9", "r/10"]


class Strict(BaseModel):
    """What a caller writes: every slip is an error with a place, never a guess."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What the service writes. Unknown fields are kept out of the reader's way, so that it may grow."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class Message(Strict):
    """One turn of the conversation before the response."""

    role: Role
    content: str


class MathVerify(Strict):
    """Met when the response's final answer equals `gold` mathematically (math-verify library)."""

    rule: Literal["math_verify"]
    gold: str = Field(min_length=1)


class Regex(Strict):
    """Met when `pattern` is found anywhere in the response (`regex` library syntax, with a time limit)."""

    rule: Literal["regex"]
    pattern: str = Field(min_length=1)
    ignore_case: bool = False


class Contains(Strict):
    """Met when the response contains `text`."""

    rule: Literal["contains"]
    text: str = Field(min_length=1)
    ignore_case: bool = True


class Choice(Strict):
    """Met when the response's last stated choice (`Answer: B`, `\\boxed{B}`, a lone letter) is `gold`."""

    rule: Literal["choice"]
    gold: str = Field(pattern=r"^[A-Za-z]$")


class Length(Strict):
    """Met when the response's length lies in `min`..`max`, both inclusive."""

    rule: Literal["length"]
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)
    unit: Literal["words", "characters"] = "words"

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` is larger than `max`")
        return self


class JsonSchema(Strict):
    """Met when the whole response is a JSON document that satisfies the schema (draft 2020-12)."""

    rule: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class Exact(Strict):
    """Met when the response equals `gold`, white space at the ends aside."""

    rule: Literal["exact"]
    gold: str
    ignore_case: bool = False


Verifier = Annotated[MathVerify | Regex | Contains | Choice | Length | JsonSchema | Exact, Field(discriminator="rule")]

_RULES_BY_TAG = {"math_verify": "gold", "choice": "gold", "exact": "gold", "regex": "pattern", "contains": "text"}


def _tag_pairs(tags: Any) -> Any:
    """`["k:v", …]` to `{"k": "v"}`; a tag without a colon gets an empty value, a key told twice both values, joined by
    a comma. Anything else is left to validation."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return tags
    pairs: dict[str, list[str]] = {}
    for key, _, value in (tag.partition(":") for tag in tags):
        pairs.setdefault(key.strip(), []).append(value.strip())
    return {key: ", ".join(values) for key, values in pairs.items()}


def _verifier_of_tags(tags: dict[str, str]) -> dict[str, str] | None:
    """RuscaRL's `verifier:rule`, `function:F`, `parameters:P`. An unknown function is an error, never a guess."""
    if tags.get("verifier") != "rule":
        return None
    function = tags.get("function", "")
    if function not in _RULES_BY_TAG:
        known = ", ".join(sorted(_RULES_BY_TAG))
        raise ValueError(f"tag `function` names no rule that tags can express; known: {known}")
    return {"rule": function, _RULES_BY_TAG[function]: tags.get("parameters", "")}


class Criterion(Strict):
    """One thing to check. `points` above 0 is wanted, below 0 a fault, 0 is judged and reported but never counted.

    Also accepted: `criterion` for `text`; `{title, description, weight}` as in Rubrics as Rewards.
    """

    text: str = Field(min_length=1, description="What is literally true or not true of the response.")
    points: float = Field(description="Weight and sign; negative means a fault, 0 means monitor only.")
    id: str | None = Field(default=None, min_length=1, description="Echoed; default: the criterion's index as text.")
    tags: dict[str, str] = Field(default_factory=dict, description='Also accepted as a list of `"key:value"`.')
    verifier: Verifier | None = Field(default=None, description="A rule that decides instead of the judge.")
    polarity: Polarity | None = Field(
        default=None, description="Overrides the sign of `points` where a data set's sign convention is wrong."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Tells the user to see a doctor.", "points": 5}]}
    )

    @model_validator(mode="before")
    @classmethod
    def _other_shapes(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for ours, theirs in (("text", "criterion"), ("text", "description"), ("points", "weight")):
            if theirs in data:
                if ours in data:
                    raise ValueError(f"`{theirs}` and `{ours}` say the same thing; give one")
                data[ours] = data.pop(theirs)
        data["tags"] = _tag_pairs(data.get("tags", {}))
        title = data.pop("title") if isinstance(data.get("title"), str | None) and "title" in data else None
        if title is not None and isinstance(data["tags"], dict):
            data["tags"] = {"title": title, **data["tags"]}
        if data.get("verifier") is None and isinstance(data["tags"], dict):
            data["verifier"] = _verifier_of_tags(data["tags"])
        return data

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a criterion's `text` must say something; white space alone asks the judge nothing")
        return text


def _repeated(ids: Iterable[str]) -> tuple[int, int] | None:
    """The places of the first two ids that are equal."""
    seen: dict[str, int] = {}
    for place, id in enumerate(ids):
        if id in seen:
            return seen[id], place
        seen[id] = place
    return None


class Rubric(Strict):
    """The criteria of one item. Also accepted as a bare list."""

    criteria: list[Criterion] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, data: Any) -> Any:
        return {"criteria": data} if isinstance(data, list) else data

    @model_validator(mode="after")
    def _distinct_ids(self) -> Self:
        if same := _repeated(self.ids()):
            raise ValueError(
                f"criteria {same[0]} and {same[1]} have one id; ids must be distinct (without one, the index is the id)"
            )
        return self

    def ids(self) -> Iterator[str]:
        """The criteria's ids, defaults filled in."""
        return (str(i) if c.id is None else c.id for i, c in enumerate(self.criteria))


class Item(Strict):
    """One response to score, or a GRPO group of them (`responses`) that shares prompt and rubric."""

    id: str | None = Field(default=None, min_length=1, description="Echoed; default: the index as text.")
    prompt: str | list[Message] = Field(description="The conversation before the response; a string is one user turn.")
    response: str | None = Field(default=None, description="The text to judge; may be empty.")
    responses: list[str] | None = Field(
        default=None, min_length=1, description="Instead of `response`: results are `id/0`, `id/1`, …, group `id`."
    )
    rubric: Rubric | None = None
    reference: str | None = Field(default=None, description="A reference answer, seen by the judge only.")
    group: str | None = Field(default=None, min_length=1, description="GRPO group; its items share a prompt.")

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

    items: list[Item] = Field(min_length=1)
    mode: Mode = "verdict"
    aggregation: Aggregation = "healthbench"
    layout: Layout = "rubricd"
    votes: int = Field(default=1, ge=1, le=16)
    rating_norm: RatingNorm = Field(default="(r-1)/9", description="Rating modes: how 1..10 becomes the score.")
    soft: bool = False
    threshold: float = Field(default=0.5, ge=0, le=1)
    min_coverage: float = Field(default=1.0, ge=0, le=1)
    deadline_ms: int | None = Field(default=None, gt=0)
    priority: Priority = "train"
    expect_judge: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if same := _repeated(id for i, item in enumerate(self.items) for id in item.result_ids(i)):
            raise ValueError(
                f"results {same[0]} and {same[1]} have one id; ids must be distinct (without one, the index is the id)"
            )
        if self.mode != "likert" and any(item.rubric is None for item in self.items):
            raise ValueError(f"mode `{self.mode}` needs a `rubric` in every item")
        if self.votes != 1 and self.mode != "reasoned":
            raise ValueError("`votes` has a meaning in mode `reasoned` only")
        if self.rating_norm != "(r-1)/9" and self.mode not in ("implicit", "likert"):
            raise ValueError("`rating_norm` has a meaning in modes `implicit` and `likert` only")
        prompts: dict[str, Any] = {}
        for item in self.items:
            if item.group is not None and prompts.setdefault(item.group, item.prompt) != item.prompt:
                raise ValueError("items of one `group` must share their `prompt`")
        return self


class Judge(Answer):
    """Who judged. The fingerprint names the judge in this mode and layout; any change of it is a new judge."""

    model: str
    revision: str
    engine: str
    mode: Mode
    layout: Layout
    fingerprint: str


class CriterionResult(Answer):
    """One verdict, or the reason why there is none."""

    id: str
    status: CriterionStatus
    met: bool | None = Field(description="null unless `status` is `ok`.")
    p: float | None = Field(description="P(met), calibrated where a calibration is loaded.")
    p_raw: float | None = Field(description="P(met) as the judge gave it.")
    label_mass: float | None = Field(description="The labels' share of the probability of the whole vocabulary.")
    points: float = Field(description="As counted, polarity applied.")
    source: Source
    explanation: str | None = None
    detail: str | None = Field(default=None, description="For a status other than `ok`: what to do about it.")


class Rating(Answer):
    """Rating modes: on the judge's scale of 1..10."""

    expected: float
    most_likely: int
    normalised: float


class Result(Answer):
    """One response's score. `score` is null when too little was judged; it is never invented."""

    id: str
    status: ResultStatus
    score: float | None
    score_bounds: tuple[float, float] | None = Field(
        description="The score if every unjudged criterion went the worst and the best way; null if nothing counts."
    )
    coverage: float = Field(description="Share of the counted |points| that was judged.")
    criteria: list[CriterionResult] = Field(
        description="In the order of the rubric; in the rating modes one entry `rating`, the rating's own status."
    )
    rating: Rating | None = None


class Group(Answer):
    """Statistics over the valid scores of a GRPO group. `std` is the population's (divided by `valid`)."""

    id: str
    n: int
    valid: int
    mean: float | None
    std: float | None
    zero_variance: bool | None


class Usage(Answer):
    """What the request cost. Tokens are the judge's."""

    judgements: int
    cache_hits: int
    deduplicated: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class ScoreResponse(Answer):
    """The answer of `POST /v1/score`; `results` stand in the order of the items."""

    id: str
    judge: Judge
    results: list[Result]
    groups: list[Group] | None = None
    usage: Usage


class StreamedResult(Result):
    """A line of the streamed answer: a result as soon as it is finished."""

    index: int = Field(ge=0, description="Its place among the request's results, from 0.")


class StreamEnd(Answer):
    """The last line of the streamed answer; a stream that ends without it broke."""

    done: Literal[True]
    id: str
    judge: Judge
    usage: Usage
    groups: list[Group] | None = None


class Place(Answer):
    loc: list[str | int]
    msg: str


class Problem(Answer):
    """An error, RFC 9457. The last part of `type` is the stable error code. Never holds text of the request."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Place] = Field(default_factory=list)


class Limits(Answer):
    """What one request may hold. Lengths in tokens, the body in bytes."""

    max_items: int
    max_criteria: int
    max_body_bytes: int
    max_model_len: int
    max_queued_tokens: int


class JudgeInfo(Answer):
    """The answer of `GET /v1/judge`."""

    model: str
    revision: str
    engine: str
    fingerprint: str = Field(description="In the default mode and layout.")
    modes: list[Mode]
    layouts: list[Layout]
    judges: list[Judge] = Field(
        default_factory=list, description="One for each mode and layout in which this judge can be asked."
    )
    labels: dict[str, int] = Field(description="The label tokens and their ids.")
    label_mass_floor: float = Field(description="Below it a criterion abstains.")
    limits: Limits
    calibration: str | None = None
    facts: dict[str, str] = Field(
        default_factory=dict, description="What, besides prompts and labels, the fingerprint names."
    )


class LintRequest(Strict):
    """The body of `POST /v1/rubrics/lint`."""

    rubric: Rubric
    aggregation: Aggregation = "healthbench"


class Finding(Answer):
    """Something about a rubric that a person should look at. `criterion` is null for the rubric as a whole."""

    code: str
    severity: Literal["error", "warning"]
    criterion: str | None
    message: str


class LintResponse(Answer):
    findings: list[Finding]

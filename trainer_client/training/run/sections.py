"""Defines the sections of a run config: the scaffold, the judge, the rewards, the adapter.

Guarantees: an unknown field and a value of another type are errors, and every field has a sentence of its own.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from trainer_client import wire
from trainer_client.client import ScoreOptions
from trainer_client.data.rows import Pitfalls
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolution
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Choose, Over, Place, Schedule, Within, Wording
from trainer_client.watch.alarms import Kind as WatchKind

_SCHEDULE, _WORDING, _DROPOUT, _EVOLUTION = Schedule(), Wording(), RubricDropout(), Evolution()


def _listed(value: Any) -> Any:
    if isinstance(value, list) or value is None:
        return value
    if not isinstance(value, str):
        raise ValueError(f"is {value!r}; write a text, or a list of texts")
    return [value]


OneOrMore = Annotated[list[str], Field(min_length=1), BeforeValidator(_listed)]
"""A text, or a list of texts; it is kept as a list."""


class Section(BaseModel):
    """A part of the run config. Unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class WordingSection(Section):
    """The words of the scaffold."""

    opener: str = Field(default=_WORDING.opener, description="Its first sentence.")
    include: str = Field(default=_WORDING.include, description="Heading of the criteria with positive points.")
    avoid: str = Field(default=_WORDING.avoid, description="Heading of the criteria with negative points.")
    closing: str = Field(default=_WORDING.closing, description="The request after the criteria.")
    warning: str = Field(default=_WORDING.warning, description="The warning not to mention the criteria.")
    points: bool = Field(default=True, description="Whether each criterion's points are revealed.")
    warn: bool = Field(default=True, description="Whether the warning is given.")


class ScaffoldSection(Section):
    """The scaffold: how much of its rubric a rollout reveals."""

    within: Within = Field(default="linear", description="Within a group: `linear`, from all to nothing, or `binary`.")
    over: Over = Field(
        default="sigmoid", description="Over the training: `sigmoid`, `linear`, `power`, `constant`, `none`."
    )
    full: int | None = Field(default=None, ge=0, description="`binary`: members that see all; null: the whole group.")
    start: float = Field(
        default=_SCHEDULE.start, description="`sigmoid`: the progress (0..1) at which half is revealed."
    )
    steepness: float = Field(default=_SCHEDULE.steepness, ge=0, description="`sigmoid`: its slope.")
    exponent: float = Field(default=_SCHEDULE.exponent, ge=0, description="`power`: its exponent.")
    nested: bool = Field(default=False, description="Each member sees a part of what the one before sees.")
    choose: Choose = Field(
        default="evenly",
        description="`unlearnt`: rather the criteria that the row's answers do not meet yet; `in_order`: the rubric's "
        "first ones.",
    )
    first: OneOrMore | None = Field(
        default=None, description="Criteria revealed before all others, named as in `rubric_dropout.protect`."
    )
    last: OneOrMore | None = Field(
        default=None, description="Criteria revealed after all others, such as the one with the final answer."
    )
    place: Place = Field(
        default="auto",
        description="Turn with the criteria: `system`, `user` (the first), `auto`: system if the template takes one.",
    )
    tokens: int | None = Field(default=None, ge=0, description="Tokens that it may add to a prompt; null: no limit.")
    wording: WordingSection = Field(default=WordingSection(), description="The words of the scaffold.")

    @model_validator(mode="after")
    def _one_place_each(self) -> Self:
        if both := set(self.first or ()) & set(self.last or ()):
            raise ValueError(f"`first` and `last` both name {', '.join(sorted(both))}; leave it in one of them")
        return self


class JudgingSection(Section):
    """The judge service, and the options of its scores."""

    url: OneOrMore = Field(description="Address of the judge service, or a list of addresses of the same judge.")
    token_env: str = Field(default="RUBRICD_KEY", description="Environment variable with the key.")
    judge_timeout_s: float = Field(
        default=600.0, gt=0, description="Seconds that a batch of rollouts waits for its judge."
    )
    concurrency: int = Field(default=8, ge=1, description="Requests at once, in each process.")
    timeout_s: float = Field(default=300.0, gt=0, description="Seconds that one request may take.")
    max_missing_fraction: float = Field(
        default=0.5, ge=0, le=1, description="A larger share of rollouts without a reward ends the run."
    )
    truncation_penalty: float | None = Field(
        default=0.0, ge=0, description="Reward of a truncated answer: min(score, 0) minus this; null: its score."
    )
    reasoning: wire.Reasoning = Field(
        default="remove",
        description="The policy's reasoning: `remove`, by the tags of its tokenizer and template; `keep`; or "
        "`{open, close}`.",
    )
    mode: wire.Mode = Field(default="verdict", description="As in `POST /v1/score`, like the next fifteen.")
    aggregation: wire.Aggregation = Field(default="healthbench", description="How verdicts become a score.")
    layout: wire.Layout = Field(default="rubricd", description="The prompt's layout.")
    judge_prompt: str | None = Field(
        default=None, min_length=1, description="Mode `verdict`: the judge's prompt, by name; null: its default."
    )
    consistency: Literal[1, 2] = Field(default=1, description="2: each criterion is also asked whether it is false.")
    votes: int = Field(default=1, ge=1, le=16, description="Mode `reasoned`: samples a criterion.")
    batch: wire.Batch | None = Field(
        default=None, description="Mode `reasoned`: `all`: a response's criteria in one document; null: one by one."
    )
    rating_norm: wire.RatingNorm = Field(default="(r-1)/9", description="How a rating of 1..10 becomes the score.")
    soft: bool = Field(default=False, description="Whether P(met) counts instead of 0 and 1.")
    threshold: float = Field(default=0.5, ge=0, le=1, description="P(met) from which a criterion is met.")
    debias: bool = Field(default=False, description="Whether scores are corrected for the judge's known errors.")
    min_coverage: float = Field(
        default=1.0, ge=0, le=1, description="Share of the points that must be judged for a score."
    )
    unjudged: wire.Unjudged | None = Field(
        default=None,
        description="Score where some but enough was judged: `lower` or `middle` of its bounds; null: none.",
    )
    priority: wire.Priority = Field(default="train", description="Scheduling class in the service.")
    judge: str | None = Field(
        default=None, min_length=1, description="Name of the service's judge or composition; null: its first one."
    )
    expect_judge: str | None = Field(
        default=None, min_length=1, description="Fingerprint of the judge; null: the one that answers at the start."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, urls: list[str]) -> list[str]:
        for parts in map(urlsplit, urls):
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be a URL like http://127.0.0.1:8000")
            if parts.username or parts.password:
                raise ValueError(
                    "holds a key, and the run config is kept: put the key into the variable of `token_env`"
                )
        return urls

    def config(
        self, environment: Mapping[str, str], *, expect_judge: str | None, pitfalls: Pitfalls | None
    ) -> JudgeConfig:
        """The judge that the fields describe; its key is read from `environment`."""
        names = ScoreOptions.__annotations__.keys() - {"cache", "pitfalls", "reasoning"}
        options: Any = {name: getattr(self, name) for name in names}
        # What is sent are answers, so that the service keeps them as they are.
        options |= {"expect_judge": expect_judge, "pitfalls": pitfalls, "reasoning": "keep"}
        return JudgeConfig(
            url=tuple(self.url),
            token=environment.get(self.token_env) or None,
            options=options,
            judge_timeout_s=self.judge_timeout_s,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            max_missing_fraction=self.max_missing_fraction,
            reasoning=self.reasoning,
            truncation_penalty=self.truncation_penalty,
        )

    def scores_as(self, other: "JudgingSection") -> bool:
        """Returns whether the same service is asked for the same scores."""
        names = {"url", *ScoreOptions.__annotations__} & JudgingSection.model_fields.keys() - {
            "priority",
            "expect_judge",
        }
        return all(getattr(self, name) == getattr(other, name) for name in names)


class LoraSection(Section):
    """A LoRA adapter."""

    r: int = Field(default=16, ge=1, description="Rank.")
    alpha: float = Field(default=32.0, gt=0, description="The adapter is scaled by alpha / r.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout of the adapter's input.")
    target_modules: str | list[str] = Field(default="all-linear", description="Modules that get an adapter.")


class RubricDropoutSection(Section):
    """Rubric dropout: criteria that are left out of a group's reward."""

    share: float = Field(default=_DROPOUT.share, ge=0, lt=1, description="Share of the positive criteria left out.")
    keep: int = Field(default=_DROPOUT.keep, ge=1, description="Positive criteria that are kept at least.")
    protect: list[str] = Field(
        default_factory=list,
        description="Criteria that are never left out, by id, category, tag (`key:value`) or a tag's key.",
    )


class ProposerSection(Section):
    """What proposes criteria: a chat model at an endpoint, or a function of the user's own."""

    url: str | None = Field(
        default=None, description="Base of an OpenAI-compatible API, like http://host:8000/v1; with `model`."
    )
    model: str | None = Field(default=None, min_length=1, description="The chat model at `url`.")
    token_env: str = Field(default="RUBRICD_PROPOSER_KEY", description="Environment variable with the endpoint's key.")
    call: str | None = Field(
        default=None,
        pattern=r"^[^:]+:[A-Za-z_]\w*$",
        description="Instead of an endpoint `module:function`, or `file.py:function`.",
    )
    temperature: float = Field(default=0.7, ge=0, description="Of the chat model.")
    max_tokens: int = Field(default=1024, ge=1, description="Tokens of an answer of it.")
    timeout_s: float = Field(default=120.0, gt=0, description="Seconds that a batch waits for it.")
    concurrency: int = Field(default=8, ge=1, description="Requests at once.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.call is None) == (self.url is None) or (self.url is None) != (self.model is None):
            raise ValueError("give `url` and `model` of a chat endpoint, or `call` of a function")
        if self.url is not None and (parts := urlsplit(self.url)) and (parts.username or parts.password):
            raise ValueError("url holds a key, and the run config is kept: put it into the variable of `token_env`")
        return self


class EvolvingSection(Section):
    """Evolving rubrics: criteria that are proposed from a group's answers."""

    proposer: ProposerSection = Field(description="What proposes criteria.")
    every: int = Field(default=_EVOLUTION.every, ge=1, description="Batches from one proposal to the next.")
    propose: int = Field(default=_EVOLUTION.propose, ge=1, description="Criteria that are asked for from a group.")
    active: int = Field(default=_EVOLUTION.active, ge=1, description="Evolved criteria that stay with a row at most.")
    drift: float = Field(
        default=_EVOLUTION.drift, gt=0, lt=1, description="Largest share of a rubric's points that they hold."
    )
    promote: float | None = Field(
        default=_EVOLUTION.promote,
        ge=0,
        le=0.5,
        description="Spread within its group from which a criterion stays with its row; null: it lasts one batch.",
    )


class FunctionSection(Section):
    """A reward function beside the judge."""

    call: str = Field(pattern=r"^[^:]+:[A-Za-z_]\w*$", description="`module:function`, or `file.py:function`.")
    weight: float = Field(default=1.0, description="Its weight in the sum.")
    none: Literal["no_opinion", "zero"] = Field(default="no_opinion", description="What its None means.")
    arguments: dict[str, Any] | None = Field(
        default=None, description="`call` is called with these once, and what it returns is the function; null: it is."
    )


class SftSection(Section):
    """A training on the rows' reference answers, before the one on rewards."""

    data: OneOrMore | None = Field(
        default=None, description="Rows with the answers to learn, like `data`; null: those of `data`."
    )
    epochs: float = Field(default=3.0, gt=0, description="Passes over these rows.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Its largest learning rate; it falls linearly to 0.")
    batch: int = Field(default=64, ge=1, description="Answers of an update; divisible by `per_device`, or below it.")
    max_tokens: int | None = Field(
        default=None, ge=2, description="Longer prompts with answers are cut at so many tokens; null: at none."
    )
    only: bool = Field(default=False, description="Whether the run ends with it: the baseline without rewards.")


class WatchSection(Section):
    """What is watched of the rewards, and what ends the training."""

    stop: list[WatchKind] = Field(
        default_factory=list, description="Alarms (watch.md) that end the training, with a checkpoint."
    )
    false_alarms: float = Field(
        default=0.01, gt=0, lt=1, description="Chance that an honest training ever raises any alarm."
    )


class RewardsSection(Section):
    """The rewards of a rollout."""

    by: Literal["total", "tag", "criterion"] = Field(
        default="total", description="One reward (`total`), or one for each `tag` or `criterion`."
    )
    functions: list[FunctionSection] = Field(
        default_factory=list, description="Functions beside the judge, each {call, weight, none, arguments}."
    )

    @property
    def several(self) -> bool:
        """Returns whether TRL adds up more than one reward."""
        return self.by != "total" or bool(self.functions)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [one.call.rpartition(":")[2] for one in self.functions]
        if len(set(names) | {"judge"}) <= len(names):
            raise ValueError("functions must have distinct names, and none may be `judge`")
        return self

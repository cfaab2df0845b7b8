"""Defines the plan file of a cascade: when each judge passes a criterion on to the next, and what was promised of that.

Guarantees: `read_cascade_plan` refuses an unknown field, another type, a number that is not finite, a band that is
upside down, and a plan whose last judge would have to pass on.
"""

import json
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from trainer_client.wire.calibration import Digest, Interval, Share
from trainer_client.wire.json_text import JsonFault, check_keys
from trainer_client.wire.models import Answer, Id, Layout

CASCADE_FORMAT: Literal["rubricd-cascade-1"] = "rubricd-cascade-1"


class CascadeBand(Answer):
    """The values of P(met), both ends among them, at which a judge is unsure."""

    low: Share = Field(description="The lower end.")
    high: Share = Field(description="The upper end.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("`low` must not be above `high`")
        return self

    def holds(self, p: float) -> bool:
        return self.low <= p <= self.high


class CascadeJudge(Answer):
    """A judge of the cascade, as it was when the labels were judged."""

    name: str = Field(description="What tells it from the others of the plan.")
    fingerprint: Id = Field(description="Its fingerprint in this mode, layout and prompt.")
    model: str = Field(description="Its model, by folder or name.")
    mode: Literal["verdict", "reasoned"] = Field(description="The mode in which it was asked.")
    layout: Layout = Field(description="The layout in which it was asked.")
    prompt: str | None = Field(default=None, description="The judge's prompt; null: the mode has none to choose.")
    band: CascadeBand | None = Field(
        description="Where it is unsure, so that the next judge is asked. Null: each of its verdicts stands."
    )


class CascadePromise(Answer):
    """What holds with probability 1 - `delta` over the draw of the labelled prompts."""

    kind: Literal["agreement", "loss"] = Field(
        description="`agreement`: the mean over prompts of the share of criteria on which the cascade agrees with the "
        "label is at least `level`. `loss`: it is less by at most `level` than that of the last judge alone."
    )
    level: Share = Field(description="The share of which `kind` speaks.")
    delta: float = Field(gt=0, lt=1, description="The probability with which the promise may fail.")
    prompts: int = Field(ge=1, description="Held out: they took no part in choosing the bands.")
    p_value: float = Field(ge=0, le=1, description="Of the hypothesis that the promise is not kept.")


class CascadeData(Answer):
    """The labelled rows that it was made from."""

    digest: Digest = Field(description="The SHA-256 of the labels and of what they are about.")
    prompts: int = Field(ge=1, description="Prompts of these rows.")
    criteria: int = Field(ge=1, description="Labelled criteria of these rows.")


class CascadeSavings(Answer):
    """What the cascade saves, on the held-out prompts, of what the last judge alone takes. Null where the tokens, the
    seconds or the prices of a judge are not known."""

    last_judge: Interval = Field(description="The share of criteria that never reach the last judge.")
    last_judge_responses: Interval = Field(description="The share of responses of which none does.")
    tokens: Interval | None = Field(default=None, description="The share of the last judge's tokens that is saved.")
    seconds: Interval | None = Field(default=None, description="The share of the last judge's seconds that is saved.")
    money: Interval | None = Field(default=None, description="The share of the last judge's cost that is saved.")


class CascadePlan(Answer):
    """The judges in the order in which they are asked, the cheapest first, and what was promised and measured."""

    format: Literal["rubricd-cascade-1"] = Field(
        default=CASCADE_FORMAT, description="Names the format, so that a file of another one is refused."
    )
    judges: tuple[CascadeJudge, ...] = Field(min_length=2, max_length=4, description="The cheapest first.")
    promise: CascadePromise = Field(description="What holds for it, and how surely.")
    data: CascadeData = Field(description="What it was made from.")
    agreement: Interval = Field(description="Of the cascade with the labels, on the held-out prompts.")
    saves: CascadeSavings = Field(description="What it saves of the last judge's work.")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.judges[-1].band is not None:
            raise ValueError("the last judge has a `band`, and nobody comes after it")
        if len({one.name for one in self.judges}) != len(self.judges):
            raise ValueError("two judges have one name")
        return self


def read_cascade_plan(text: bytes) -> CascadePlan:
    """Raises ValueError with the first thing that is wrong and its place."""
    try:
        check_keys(text)
        return CascadePlan.model_validate_json(text, strict=True, extra="forbid")
    except JsonFault as fault:
        raise ValueError(f"it is not JSON that can be read: {fault}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{place}: {first['msg']}") from None


def write_cascade_plan(plan: CascadePlan) -> str:
    """The text of the file: equal plans give equal bytes."""
    return json.dumps(plan.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False) + "\n"

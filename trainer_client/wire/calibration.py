"""Defines the calibration file: how P(met) of one judge becomes the share that is met, and how good that judge is.

Guarantees: `read_calibrations` refuses an unknown field, another type, a number that is not finite, an interval that
does not hold its value, and a curve that could turn the order of two verdicts round.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from trainer_client.wire.json_text import JsonFault, check_keys
from trainer_client.wire.models import Answer, Id, Layout

CALIBRATION_FORMAT: Literal["rubricd-calibration-1"] = "rubricd-calibration-1"
Method = Literal["none", "temperature", "platt", "contextual", "contextual_platt", "isotonic"]
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_CONTENT_FREE_CHARACTERS = 200


class Interval(Answer):
    """A figure with its confidence interval of 95 %."""

    value: float = Field(description="The figure itself.")
    low: float = Field(description="The lower end of its interval.")
    high: float = Field(description="The upper end of its interval.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError("`low`, `value` and `high` must be in order")
        return self


class Line(Answer):
    """A straight line on the log-odds: slope x logit P(met) + offset - prior_weight x logit P(met) of the prior."""

    kind: Literal["line"] = Field(default="line", description="Tells a line from steps.")
    slope: float = Field(default=1.0, ge=0, description="Below 1 it makes P(met) less sure, above 1 surer.")
    offset: float = Field(default=0.0, description="Above 0 it makes P(met) larger everywhere.")
    prior_weight: float = Field(
        default=0.0, ge=0, description="How much of the prior's log-odds is taken off; 0: no prior is asked for."
    )


class Steps(Answer):
    """Isotonic: linear between its knots, which are pairs of the log-odds of P(met) and the calibrated P(met)."""

    kind: Literal["steps"] = Field(default="steps", description="Tells steps from a line.")
    knots: tuple[tuple[float, Share], ...] = Field(
        min_length=1, description="Pairs of log-odds and calibrated P(met), both rising."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        at, p = [knot[0] for knot in self.knots], [knot[1] for knot in self.knots]
        if sorted(set(at)) != at or sorted(p) != p:
            raise ValueError("`knots` must rise")
        return self


class CalibrationCurve(Answer):
    """The curve of the criteria of one sign, or of one tag; of all that no curve before it is for, where it names
    neither."""

    sign: Literal["positive", "negative"] | None = Field(
        default=None, description="The sign of the points that it is for; null: it does not go by the sign."
    )
    tag: tuple[str, str] | None = Field(
        default=None, description="Key and value of the tag that it is for; null: it does not go by a tag."
    )
    curve: Annotated[Line | Steps, Field(discriminator="kind")] = Field(description="What becomes of P(met).")


class Prior(Answer):
    """A second query whose content is empty, so that its answer is the judge's bias: a criterion that says nothing
    about the same response, or an empty response to the same criterion."""

    of: Literal["criterion", "response"] = Field(description="What is left empty in the second query.")
    text: str = Field(
        max_length=_CONTENT_FREE_CHARACTERS, description="The criterion that says nothing; empty for an empty response."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.of == "response") != (self.text == ""):
            raise ValueError("the prior of a response has an empty text, that of a criterion has one")
        return self


class CalibrationData(Answer):
    """The labelled rows that it was made from."""

    digest: Digest = Field(description="The SHA-256 of the labels and of what they are about.")
    criteria: int = Field(ge=0, description="Labelled criteria with a verdict.")
    met: int = Field(ge=0, description="Those of them that are labelled as met.")
    groups: int = Field(ge=0, description="Prompts, by which folds and intervals are made.")


class Gain(Answer):
    """By how much it lowers the error on rows that it was not fitted to. A negative number is a loss."""

    log_loss: Interval = Field(description="By how much the log loss is lower.")
    ece: Interval = Field(description="By how much the calibration error is lower.")


class SignRates(Answer):
    """The judge's errors on criteria of one sign. A rate is null where no label could show it."""

    met: int = Field(ge=0, description="Criteria of this sign that are labelled as met.")
    unmet: int = Field(ge=0, description="Criteria of this sign that are labelled as not met.")
    false_positive: Interval | None = Field(description="Share of the unmet ones that the judge calls met.")
    false_negative: Interval | None = Field(description="Share of the met ones that the judge calls not met.")
    informedness: Interval | None = Field(description="1 - false positive rate - false negative rate.")


class Certificate(Answer):
    """How good the calibrated judge is, measured on rows that its calibration was not fitted to."""

    threshold: Share = Field(description="P(met) from which a criterion counted as met.")
    criteria: int = Field(ge=1, description="Labelled criteria with a verdict.")
    groups: int = Field(ge=1, description="Prompts, by which the intervals are made.")
    ece: Interval = Field(description="The calibration error, over ten bins of equal width.")
    log_loss: Interval = Field(description="The log loss of P(met).")
    brier: Interval = Field(description="The Brier score of P(met).")
    positive: SignRates = Field(description="Errors on criteria with positive points.")
    negative: SignRates = Field(description="Errors on criteria with negative points.")


class Calibration(Answer):
    """The calibration of one judge in one mode, layout and prompt."""

    judge: Id = Field(description="The fingerprint of the judge without a calibration.")
    model: str = Field(description="The judge's model, by its folder or name.")
    mode: Literal["verdict", "reasoned"] = Field(description="The mode in which it was asked.")
    layout: Layout = Field(description="The layout in which it was asked.")
    prompt: str | None = Field(default=None, description="The name of the judge's prompt, where it has one.")
    method: Method = Field(description="How P(met) is calibrated.")
    curves: tuple[CalibrationCurve, ...] = Field(
        min_length=1, description="Tried in this order; the last one is for all that no other is for."
    )
    prior: Prior | None = Field(
        default=None, description="The second query that the curves need; null: they need none."
    )
    data: CalibrationData = Field(description="What it was made from.")
    gain: Gain = Field(description="What it lowers, on rows that it was not fitted to.")
    certificate: Certificate = Field(description="How good the judge is with it.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        last = self.curves[-1]
        if last.sign is not None or last.tag is not None:
            raise ValueError("the last of `curves` must be for all criteria: without `sign` and `tag`")
        weighed = any(isinstance(one.curve, Line) and one.curve.prior_weight > 0 for one in self.curves)
        if weighed and self.prior is None:
            raise ValueError("a curve has a `prior_weight`, and there is no `prior`")
        if self.prior is not None and self.mode != "verdict":
            raise ValueError("a `prior` has a meaning in mode `verdict` only")
        return self

    @property
    def name(self) -> str:
        """The method and the digest of everything in it: equal names are equal calibrations."""
        return f"{self.method}-{hashlib.sha256(_canonical(self).encode()).hexdigest()[:12]}"


class LevelCalibration(Answer):
    """The calibration of how one judge reads levels and choices: log-probabilities divided by `temperature`, plus the
    bias of each place, of criteria with as many options as a list of `biases` is long."""

    judge: Id = Field(description="The fingerprint of the judge's reading of levels, without a calibration.")
    model: str = Field(description="The judge's model, by its folder or name.")
    mode: Literal["verdict", "reasoned"] = Field(description="The mode in which it was asked.")
    method: Literal["none", "temperature", "vector"] = Field(description="How the log-probabilities are calibrated.")
    temperature: float = Field(gt=0, description="What the log-probabilities are divided by.")
    biases: tuple[tuple[float, ...], ...] = Field(
        default=(), description="One list for each number of options: what is added at each place."
    )
    digest: Digest = Field(description="Of the labelled rows that it was made from.")
    criteria: int = Field(ge=1, description="Labelled criteria with a verdict.")
    groups: int = Field(ge=1, description="Prompts, by which folds and intervals are made.")
    log_loss: Interval = Field(description="Of the labelled level, on rows that it was not fitted to.")
    gain: Interval = Field(description="By how much that is lower than without it.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sizes = [len(one) for one in self.biases]
        if len(set(sizes)) != len(sizes) or any(size < 2 for size in sizes):
            raise ValueError("`biases` has one list for each number of options, which is at least 2")
        return self

    @property
    def name(self) -> str:
        """The method and the digest of everything in it."""
        return f"levels-{self.method}-{hashlib.sha256(_canonical(self).encode()).hexdigest()[:12]}"


class CalibrationFile(Answer):
    """A file with the calibrations of a deployment, one for each judge that it names, and those of its levels."""

    format: Literal["rubricd-calibration-1"] = Field(
        default=CALIBRATION_FORMAT, description="Names the format, so that a file of another one is refused."
    )
    calibrations: tuple[Calibration, ...] = Field(
        default=(), description="Those of P(met), at most one for each judge."
    )
    levels: tuple[LevelCalibration, ...] = Field(
        default=(), exclude_if=lambda levels: not levels, description="Those of levels and choices, likewise."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.calibrations and not self.levels:
            raise ValueError("there is no calibration in it")
        judges = [one.judge for one in self.calibrations] + [one.judge for one in self.levels]
        if len(set(judges)) != len(judges):
            raise ValueError("two calibrations are for one judge")
        return self


def read_calibrations(text: bytes) -> tuple[Calibration, ...]:
    """Those of P(met) in a file. Raises as `parse_calibrations`."""
    return parse_calibrations(text).calibrations


def parse_calibrations(text: bytes) -> CalibrationFile:
    """A calibration file. Raises ValueError with the first thing that is wrong and its place."""
    try:
        check_keys(text)
        file = CalibrationFile.model_validate_json(text, strict=True, extra="forbid")
    except JsonFault as fault:
        raise ValueError(f"it is not JSON that can be read: {fault}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{place}: {first['msg']}") from None
    return file


def write_calibrations(calibrations: Sequence[Calibration], levels: Sequence[LevelCalibration] = ()) -> str:
    """The text of the file: canonical, so that equal calibrations give equal bytes."""
    return _canonical(CalibrationFile(calibrations=tuple(calibrations), levels=tuple(levels)), indent=1) + "\n"


def _canonical(model: Answer, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(model.model_dump(mode="json"), sort_keys=True, indent=indent, separators=separators)

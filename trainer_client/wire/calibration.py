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

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError("`low`, `value` and `high` must be in order")
        return self


class Line(Answer):
    """A straight line on the log-odds: slope x logit P(met) + offset - prior_weight x logit P(met) of the prior."""

    kind: Literal["line"] = "line"
    slope: float = Field(default=1.0, ge=0)
    offset: float = 0.0
    prior_weight: float = Field(default=0.0, ge=0)


class Steps(Answer):
    """Isotonic: linear between its knots, which are pairs of the log-odds of P(met) and the calibrated P(met)."""

    kind: Literal["steps"] = "steps"
    knots: tuple[tuple[float, Share], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        at, p = [knot[0] for knot in self.knots], [knot[1] for knot in self.knots]
        if sorted(set(at)) != at or sorted(p) != p:
            raise ValueError("`knots` must rise")
        return self


class CalibrationCurve(Answer):
    """The curve of the criteria of one sign, or of one tag; of all that no curve before it is for, where it names
    neither."""

    sign: Literal["positive", "negative"] | None = None
    tag: tuple[str, str] | None = None
    curve: Annotated[Line | Steps, Field(discriminator="kind")]


class Prior(Answer):
    """A second query whose content is empty, so that its answer is the judge's bias: a criterion that says nothing
    about the same response, or an empty response to the same criterion."""

    of: Literal["criterion", "response"]
    text: str = Field(max_length=_CONTENT_FREE_CHARACTERS)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.of == "response") != (self.text == ""):
            raise ValueError("the prior of a response has an empty text, that of a criterion has one")
        return self


class CalibrationData(Answer):
    """The labelled rows that it was made from."""

    digest: Digest
    criteria: int = Field(ge=0)
    met: int = Field(ge=0)
    groups: int = Field(ge=0, description="Prompts, by which folds and intervals are made.")


class Gain(Answer):
    """By how much it lowers the error on rows that it was not fitted to. A negative number is a loss."""

    log_loss: Interval
    ece: Interval


class SignRates(Answer):
    """The judge's errors on criteria of one sign. A rate is null where no label could show it."""

    met: int = Field(ge=0)
    unmet: int = Field(ge=0)
    false_positive: Interval | None
    false_negative: Interval | None
    informedness: Interval | None = Field(description="1 - false positive rate - false negative rate.")


class Certificate(Answer):
    """How good the calibrated judge is, measured on rows that its calibration was not fitted to."""

    threshold: Share
    criteria: int = Field(ge=1)
    groups: int = Field(ge=1)
    ece: Interval
    log_loss: Interval
    brier: Interval
    positive: SignRates
    negative: SignRates


class Calibration(Answer):
    """The calibration of one judge in one mode, layout and prompt."""

    judge: Id = Field(description="The fingerprint of the judge without a calibration.")
    model: str
    mode: Literal["verdict", "reasoned"]
    layout: Layout
    prompt: str | None = Field(default=None, description="The name of the judge's prompt, where it has one.")
    method: Method
    curves: tuple[CalibrationCurve, ...] = Field(min_length=1)
    prior: Prior | None = None
    data: CalibrationData
    gain: Gain
    certificate: Certificate

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
    model: str
    mode: Literal["verdict", "reasoned"]
    method: Literal["none", "temperature", "vector"]
    temperature: float = Field(gt=0)
    biases: tuple[tuple[float, ...], ...] = ()
    digest: Digest = Field(description="Of the labelled rows that it was made from.")
    criteria: int = Field(ge=1)
    groups: int = Field(ge=1)
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

    format: Literal["rubricd-calibration-1"] = CALIBRATION_FORMAT
    calibrations: tuple[Calibration, ...] = ()
    levels: tuple[LevelCalibration, ...] = Field(default=(), exclude_if=lambda levels: not levels)

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

"""Lists the calibrations that the data can carry, from the simplest to the least simple.

Guarantees: a curve for one sign or one tag is fitted where there are enough labels of both kinds, and nowhere else.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer_client import wire
from trainer_client.calibration.curves import Bools, Floats, apply, fit_isotonic, fit_line
from trainer_client.calibration.rows import PriorOf, Rows

LEAST_OF_EACH = 30
"""Criteria that are met, and that are not, for a curve of its own."""
CONTENT_FREE: dict[PriorOf, str] = {"criterion": "N/A", "response": ""}
_MOST_TAG_VALUES = 12


@dataclass(frozen=True)
class Candidate:
    """A method, with the prior that it weighs; `by` names what has curves of its own: nothing, signs, or a tag."""

    method: wire.Method
    prior: PriorOf | None = None
    by: str = ""

    @cached_property
    def name(self) -> str:
        parts = [self.method.replace("_", " + ")]
        if self.prior is not None:
            parts.append(f"({self.prior})")
        return " ".join([*parts, f"by {self.by}"] if self.by else parts)

    def fit(self, rows: Rows) -> tuple[wire.CalibrationCurve, ...]:
        """The curves in the order in which they are looked at; the last is for all."""
        curves = [
            where.model_copy(update={"curve": self._curve(rows.take(np.flatnonzero(selected)))})
            for where, selected in self._parts(rows)
            if min((rows.met & selected).sum(), (~rows.met & selected).sum()) >= LEAST_OF_EACH
        ]
        return (*curves, wire.CalibrationCurve(curve=self._curve(rows)))

    def predict(self, curves: tuple[wire.CalibrationCurve, ...], rows: Rows) -> Floats:
        found = np.full(len(rows), np.nan)
        prior = None if self.prior is None else rows.priors[self.prior]
        for one in reversed(curves):
            chosen = selected(one, rows)
            found[chosen] = apply(one.curve, rows.p[chosen], None if prior is None else prior[chosen])
        return found

    def _parts(self, rows: Rows) -> Iterator[tuple[wire.CalibrationCurve, Bools]]:
        nothing = wire.Line()
        if self.by == "sign":
            wheres = [wire.CalibrationCurve(sign=sign, curve=nothing) for sign in ("negative", "positive")]
        elif self.by:
            values = sorted({tags[self.by] for tags in rows.tags if self.by in tags})
            wheres = [wire.CalibrationCurve(tag=(self.by, value), curve=nothing) for value in values]
        else:
            wheres = []
        for where in wheres:
            yield where, selected(where, rows)

    def _curve(self, rows: Rows) -> wire.Line | wire.Steps:
        prior = None if self.prior is None else rows.priors[self.prior]
        match self.method:
            case "none":
                return wire.Line()
            case "temperature":
                return fit_line(rows.p, rows.met, offset=False)
            case "platt":
                return fit_line(rows.p, rows.met)
            case "contextual":
                return wire.Line(prior_weight=1.0)
            case "contextual_platt":
                return fit_line(rows.p, rows.met, prior, prior_weight=True)
            case "isotonic":
                return fit_isotonic(rows.p, rows.met)


def selected(where: wire.CalibrationCurve, rows: Rows) -> Bools:
    """Which rows a curve is for."""
    chosen = np.ones(len(rows), dtype=np.bool_)
    if where.sign is not None:
        chosen &= rows.negative == (where.sign == "negative")
    if where.tag is not None:
        key, value = where.tag
        chosen &= np.array([tags.get(key) == value for tags in rows.tags], dtype=np.bool_)
    return chosen


def candidates(rows: Rows) -> list[Candidate]:
    """From the simplest on; `none` is the first."""
    found = [Candidate("none"), Candidate("temperature"), Candidate("platt")]
    for prior in rows.priors:
        found += [Candidate("contextual", prior), Candidate("contextual_platt", prior)]
    for by in _splits(rows):
        found.append(Candidate("platt", by=by))
        found += [Candidate("contextual_platt", prior, by) for prior in rows.priors]
    # Its steps make ties of verdicts that differ, and ties in a group teach nothing: a line is taken where it can be.
    return [*found, Candidate("isotonic")]


def _splits(rows: Rows) -> Iterator[str]:
    """What has at least two parts that could have a curve of their own."""
    if _carries(Counter(zip(map(str, rows.negative), map(bool, rows.met), strict=True))):
        yield "sign"
    for key in sorted({key for tags in rows.tags for key in tags}):
        counted = Counter((tags[key], bool(met)) for tags, met in zip(rows.tags, rows.met, strict=True) if key in tags)
        if _carries(counted):
            yield key


def _carries(counted: Counter[tuple[str, bool]]) -> bool:
    values = {value for value, _ in counted}
    large = [value for value in values if min(counted[value, True], counted[value, False]) >= LEAST_OF_EACH]
    return len(large) >= 2 and len(values) <= _MOST_TAG_VALUES

"""Encodes verdicts and ratings as bytes for a cache that processes share, and decodes them strictly.

Guarantees: bytes that do not decode to exactly what `encode` takes raise ValueError: an unknown tag or field, another
type, a number that is not a probability, a rating that is not ten of them, levels that do not sum to one, a batch
without a verdict.
"""

import math

import msgspec

from service.modes.extraction import Extracted
from service.modes.modes import ModeResult
from service.modes.rating import RATINGS, Rating
from service.rubrics.judgement import BatchVerdict, Verdict
from service.rubrics.levels import LevelVerdict

_ROUNDING = 1e-6

# The tag's field is "said" in what other processes of this version, or the one before, have stored.


class _Verdict(msgspec.Struct, frozen=True, tag_field="said", tag="verdict", forbid_unknown_fields=True):
    p_met: float
    label_mass: float | None
    explanation: str | None


class _Rating(msgspec.Struct, frozen=True, tag_field="said", tag="rating", forbid_unknown_fields=True):
    probabilities: list[float]
    label_mass: float


class _Levels(msgspec.Struct, frozen=True, tag_field="said", tag="levels", forbid_unknown_fields=True):
    p_levels: list[float]
    label_mass: float | None
    explanation: str | None


class _Extracted(msgspec.Struct, frozen=True, tag_field="said", tag="extracted", forbid_unknown_fields=True):
    value: str | None


class _Batch(msgspec.Struct, frozen=True, tag_field="said", tag="batch", forbid_unknown_fields=True):
    verdicts: list[_Verdict]


_Stored = _Verdict | _Rating | _Levels | _Extracted | _Batch
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode(result: ModeResult) -> bytes:
    """Raises JudgementError for a batch in which a verdict is missing: no cache keeps one."""
    if isinstance(result, Verdict):
        return _encoder.encode(_stored(result))
    if isinstance(result, BatchVerdict):
        return _encoder.encode(_Batch([_stored(result.of(place)) for place in range(len(result.verdicts))]))
    if isinstance(result, LevelVerdict):
        return _encoder.encode(_Levels(list(result.p_levels), result.label_mass, result.explanation))
    if isinstance(result, Extracted):
        return _encoder.encode(_Extracted(result.value))
    return _encoder.encode(_Rating(list(result.probabilities), result.label_mass))


def decode(raw: bytes) -> ModeResult:
    """Raises ValueError, which msgspec's own errors are."""
    stored: _Stored = _decoder.decode(raw)
    if isinstance(stored, _Verdict):
        return _verdict(stored)
    if isinstance(stored, _Batch):
        if not stored.verdicts:
            raise ValueError("a batch of no verdicts")
        return BatchVerdict(tuple(map(_verdict, stored.verdicts)))
    if isinstance(stored, _Levels):
        return _levels(stored)
    return Extracted(stored.value) if isinstance(stored, _Extracted) else _rating(stored)


def _stored(verdict: Verdict) -> _Verdict:
    return _Verdict(verdict.p_met, verdict.label_mass, verdict.explanation)


def _verdict(stored: _Verdict) -> Verdict:
    _check(stored.p_met)
    if stored.label_mass is not None:
        _check(stored.label_mass)
    return Verdict(stored.p_met, stored.label_mass, stored.explanation)


def _levels(stored: _Levels) -> LevelVerdict:
    for p in (*stored.p_levels, *(() if stored.label_mass is None else (stored.label_mass,))):
        _check(p)
    if len(stored.p_levels) < 2 or abs(math.fsum(stored.p_levels) - 1.0) > _ROUNDING:
        raise ValueError("not the probabilities of levels")
    return LevelVerdict(tuple(stored.p_levels), stored.label_mass, stored.explanation)


def _rating(stored: _Rating) -> Rating:
    for p in (*stored.probabilities, stored.label_mass):
        _check(p)
    if len(stored.probabilities) != len(RATINGS) or abs(math.fsum(stored.probabilities) - 1.0) > _ROUNDING:
        raise ValueError("not the probabilities of ten ratings")
    return Rating(tuple(stored.probabilities), stored.label_mass)


def _check(p: float) -> None:
    """NaN is in no range."""
    if not 0.0 <= p <= 1.0:
        raise ValueError("not a probability")

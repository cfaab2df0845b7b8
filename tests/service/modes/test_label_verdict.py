"""A verdict is read strictly: two probabilities that can be, or a reason why there is none (law 1)."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.engine.base import LabelLogprobs
from service.errors import Unparseable
from service.modes.label_verdict import read_verdict

LOGPROBS = st.floats(max_value=0, allow_nan=False, allow_infinity=False)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[float, float]:
    """Log-probabilities of two labels that together are at most one, from certain to the smallest float."""
    first = draw(st.floats(0, 1))
    second = draw(st.floats(0, 1)) * (1 - first)
    logs = [math.log(p) if p > 0 else draw(LOGPROBS.filter(lambda lp: lp < -30)) for p in (first, second)]
    return (logs[0], logs[1]) if draw(st.booleans()) else (logs[1], logs[0])


@pytest.mark.parametrize(
    ("probabilities", "p", "mass"),
    [((0.6, 0.2), 0.75, 0.8), ((0.2, 0.6), 0.25, 0.8), ((0.5, 0.5), 0.5, 1.0), ((1e-9, 3e-9), 0.25, 4e-9)],
)
def test_by_hand(probabilities: tuple[float, float], p: float, mass: float) -> None:
    verdict = read_verdict(LabelLogprobs(tuple(map(math.log, probabilities))))
    assert verdict.p_met == pytest.approx(p)
    assert verdict.label_mass == pytest.approx(mass)


@given(pairs())
@example((0.0, -1e308))
@example((-1e308, 0.0))
@example((-800.0, -1e308))
@example((5e-4, -20.0))
def test_what_can_be_is_two_probabilities(logprobs: tuple[float, float]) -> None:
    verdict = read_verdict(LabelLogprobs(logprobs))
    assert 0 <= verdict.p_met <= 1
    assert 0 <= (verdict.label_mass or 0.0) <= 1
    assert (verdict.p_met >= 0.5) == (logprobs[0] >= logprobs[1]) or math.isclose(*logprobs, rel_tol=1e-9, abs_tol=1e-9)
    other_way = read_verdict(LabelLogprobs(logprobs[::-1]))
    assert verdict.p_met + other_way.p_met == pytest.approx(1, abs=1e-12)
    assert other_way.label_mass == verdict.label_mass


@given(pairs(), st.floats(0, 100))
def test_less_of_the_second_label_never_lowers_p(logprobs: tuple[float, float], less: float) -> None:
    met, unmet = logprobs
    assert read_verdict(LabelLogprobs((met, unmet - less))).p_met >= read_verdict(LabelLogprobs(logprobs)).p_met


BROKEN = [math.nan, math.inf, -math.inf, 0.01, 1.0, 1e308]


@pytest.mark.parametrize(
    "logprobs",
    [
        (),
        (-0.1,),
        (-1.0, -1.0, -1.0),
        *((broken, -1.0) for broken in BROKEN),
        *((-1.0, broken) for broken in BROKEN),
        (-0.1, -0.1),
        (0.0, 0.0),
        (-0.5, math.log(0.4)),
    ],
)
def test_what_cannot_be_is_unparseable(logprobs: tuple[float, ...]) -> None:
    with pytest.raises(Unparseable):
        read_verdict(LabelLogprobs(logprobs))


@given(st.lists(st.floats(), max_size=4))
def test_whatever_an_engine_says_there_is_a_verdict_or_a_reason(logprobs: Sequence[float]) -> None:
    try:
        verdict = read_verdict(LabelLogprobs(tuple(logprobs)))
    except Unparseable:
        return
    assert len(logprobs) == 2
    assert 0 <= verdict.p_met <= 1
    assert 0 <= (verdict.label_mass or 0.0) <= 1
    assert sum(map(math.exp, logprobs)) <= 1.001

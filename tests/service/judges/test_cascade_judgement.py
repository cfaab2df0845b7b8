"""Which verdicts stand, and who decides."""

import pytest

from service.judges.cascade_judgement import Band, decided, stands
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion, Extraction, Option, Rule

_BAND = Band(0.2, 0.8)


def _said(p: float | None, **more: object) -> Judgement:
    return Judgement(status="ok", source="judge", met=p is not None and p >= 0.5, p=p, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judgement", "band", "passes_failures", "expected"),
    [
        (_said(0.19), _BAND, True, True),
        (_said(0.2), _BAND, True, False),
        (_said(0.8), _BAND, False, False),
        (_said(0.81), _BAND, True, True),
        (_said(0.5), None, True, True),
        (_said(None), _BAND, True, False),
        (_said(None), None, True, True),
        (Judgement("abstained", "judge"), None, False, False),
        (Judgement("too_long", "judge"), _BAND, False, False),
        (Judgement("engine_error", "judge"), _BAND, False, True),
        (Judgement("engine_error", "judge"), _BAND, True, False),
    ],
)
def test_what_stands(judgement: Judgement, band: Band | None, passes_failures: bool, expected: bool) -> None:
    assert stands(judgement, Criterion("c", "t", 1.0), band, passes_failures=passes_failures) is expected


@pytest.mark.parametrize("band", [_BAND, None])
def test_levels_and_values_were_in_no_plan_and_go_on(band: Band | None) -> None:
    graded = Criterion("c", "t", 1.0, options=(Option("no", 0.0), Option("yes", 1.0)))
    extracting = Criterion("c", "t", 1.0, extraction=Extraction("number", "The dose.", Rule("exact", {"gold": "4"})))
    assert not stands(_said(0.99, level=1), graded, band, passes_failures=True)
    for judgement in (_said(None, extracted="4"), _said(None)):  # the second found no value
        assert not stands(judgement, extracting, band, passes_failures=True)


def test_the_last_one_decides_also_without_a_verdict() -> None:
    unsure, failed = _said(0.6), Judgement("timeout", "judge", detail="late")
    found = decided([("small", unsure), ("large", failed)])
    assert (found.status, found.met, found.p, found.detail) == ("timeout", None, None, "late")
    assert found.members == (("small", unsure), ("large", failed))


@pytest.mark.parametrize(
    ("first", "not_asked", "missing"),
    [
        (_said(0.5), (), ()),
        (Judgement("abstained", "judge"), (), ()),
        (Judgement("too_long", "judge"), (), ()),
        (Judgement("timeout", "judge"), (), ("small",)),
        (_said(0.5), ("tiny",), ("tiny",)),
    ],
)
def test_who_answered_without_a_verdict_is_not_missing(
    first: Judgement, not_asked: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    assert decided([("small", first), ("large", _said(0.9))], not_asked).missing == missing
    lacking = _said(0.9, missing=("member",))
    assert decided([("small", first), ("panel", lacking)], not_asked).missing == (*missing, "member")

"""Which verdicts stand, and who decides."""

import pytest

from service.judges.cascade_judgement import Band, decided, stands
from service.rubrics.judgement import Judgement

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
        (_said(0.99, level=1), _BAND, True, False),
        (Judgement("abstained", "judge"), None, False, False),
        (Judgement("too_long", "judge"), _BAND, False, False),
        (Judgement("engine_error", "judge"), _BAND, False, True),
        (Judgement("engine_error", "judge"), _BAND, True, False),
    ],
)
def test_what_stands(judgement: Judgement, band: Band | None, passes_failures: bool, expected: bool) -> None:
    assert stands(judgement, band, passes_failures=passes_failures) is expected


def test_the_last_one_decides_also_without_a_verdict() -> None:
    unsure, failed = _said(0.6), Judgement("timeout", "judge", detail="late")
    found = decided([("small", unsure), ("large", failed)])
    assert (found.status, found.met, found.p, found.detail) == ("timeout", None, None, "late")
    assert found.members == (("small", unsure), ("large", failed))

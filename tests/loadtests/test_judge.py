"""The benchmark reads the service's answer strictly: what is missing or misplaced is an error, never a figure."""

from typing import Any

import pytest

from loadtests.judge import read
from miniature.world.cases import Case, evaluation


def answer(case: Case) -> dict[str, Any]:
    """A right and sure answer to the case."""
    criteria = [
        {"id": id, "status": "ok", "met": met, "p": float(met), "p_raw": float(met), "label_mass": 1.0}
        | {"points": 1.0, "source": "judge"}
        for id, met in case.truth.items()
    ]
    result = {"id": case.id, "status": "ok", "score": 1.0, "score_bounds": [0, 1], "coverage": 1.0}
    judge = dict.fromkeys(("model", "revision", "engine", "fingerprint"), "x")
    usage = ("judgements", "cache_hits", "deduplicated", "prompt_tokens", "cached_tokens", "completion_tokens")
    return {
        "id": "r",
        "judge": judge | {"mode": "verdict", "layout": "rubricd"},
        "results": [result | {"criteria": criteria}],
        "usage": dict.fromkeys(usage, 0),
    }


def test_verdicts_are_read_with_their_truth() -> None:
    case = evaluation(1, 0)
    judged = read([case], answer(case))
    assert [verdict.met for verdict in judged] == list(case.met)
    assert all(verdict.right for verdict in judged)


def test_another_order_is_an_error() -> None:
    case = evaluation(1, 0)
    swapped = answer(case)
    swapped["results"][0]["criteria"].reverse()
    with pytest.raises(ValueError, match="order"):
        read([case], swapped)


def test_a_criterion_without_a_verdict_is_an_error() -> None:
    case = evaluation(1, 0)
    lacking = answer(case)
    lacking["results"][0]["criteria"][0] |= {"status": "timeout", "met": None, "p": None}
    with pytest.raises(ValueError):
        read([case], lacking)


def test_a_missing_result_is_an_error() -> None:
    case = evaluation(1, 0)
    with pytest.raises(ValueError):
        read([case, evaluation(1, 1)], answer(case))

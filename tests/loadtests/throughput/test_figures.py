"""The figures of the comparison: ratios, tables, and the picture of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.throughput import figures
from loadtests.throughput.figures import OURS, PEERS, Outcome, Pass
from loadtests.throughput.plot import plot


def _pass(rate: float, verdicts: int = 96) -> Pass:
    return Pass(
        seconds=verdicts / rate,
        verdicts=verdicts,
        prompt_tokens=1000 * verdicts,
        cached_tokens=900 * verdicts,
        decoded_tokens=0,
        theory=900 * verdicts,
        front_end_cpu=0.096,
        engine_cpu=0.96,
        client_cpu=0.0096,
        latencies=(1.0, 2.0, 3.0, 4.0),
    )


def _outcome(*rates: float) -> Outcome:
    return Outcome(cold=tuple(map(_pass, rates)), warm=(_pass(1000.0),))


def test_a_ratio_is_the_median_over_the_rounds() -> None:
    assert figures.ratio(_outcome(10, 10, 1), _outcome(5, 8, 5)) == pytest.approx(1.25)


def test_every_peer_has_a_ratio_or_null() -> None:
    outcomes = {OURS: _outcome(10), "raw": _outcome(8), "library": Outcome(failed="no network\nlog")}
    found = figures.ratios(outcomes)
    assert tuple(found) == PEERS
    assert found["raw"] == pytest.approx(1.25)
    assert [found[peer] for peer in PEERS[1:]] == [None] * 5


def test_no_ratio_without_our_own_figures() -> None:
    assert set(figures.ratios({"raw": _outcome(8), OURS: Outcome(failed="died")}).values()) == {None}


def test_what_is_told_of_passes() -> None:
    told = figures.told([_pass(10.0), _pass(30.0)])
    assert told is not None
    assert told["verdicts_per_s"] == pytest.approx(15.0)
    assert told["prefix_hit"] == told["prefix_hit_theory"] == pytest.approx(0.9)
    assert told["tokens_computed_per_verdict"] == pytest.approx(100)
    assert told["cpu_s_per_1000_verdicts"] == pytest.approx({"front_end": 1.0, "engine": 10.0, "client": 0.1})
    assert told["latency_s"] == {"p50": 2.0, "p95": 4.0}


def test_theory_is_not_told_where_a_pass_has_none() -> None:
    told = figures.told([_pass(10.0), replace(_pass(10.0), theory=None)])
    assert told is not None
    assert told["prefix_hit_theory"] is None


def test_the_table_says_who_failed_and_gives_no_number_for_it() -> None:
    text = figures.table("request", {OURS: _outcome(10), "library": Outcome(failed="no network\nlong log")})
    assert text.splitlines()[-1].split() == ["library", "failed:", "no", "network"]
    assert "90.00%" in text


def test_the_picture_is_drawn_with_a_ratio_missing(tmp_path: Path) -> None:
    ratios = {peer: 2.0 for peer in PEERS} | {"library": None}
    facts = {"ratios": {"request": ratios}, "models": {"request": {"parameters": 500_000}}}
    plot(facts, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000

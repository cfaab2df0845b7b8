"""Tests of the panel's rules, as properties and against an oracle that is written out by hand."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from service.judges.panel_judgement import PanelRule, Said, combined, joint
from service.rubrics.judgement import Judgement
from service.rubrics.levels import judged_level
from service.rubrics.rubric import Criterion, Extraction, Option, Rule

RULES: tuple[PanelRule, ...] = ("mean", "majority", "unanimous")


def criterion(points: float = 1.0, options: tuple[Option, ...] = ()) -> Criterion:
    return Criterion("c", "Says it.", points, options=options)


def gave(p: float, threshold: float = 0.5, **more: object) -> Judgement:
    return Judgement("ok", "judge", met=p >= threshold, p=p, p_raw=p, **more)  # type: ignore[arg-type]


def oracle(votes: list[float | None], rule: PanelRule, quorum: int, points: float, threshold: float) -> bool | None:
    """Whether it is met, by counting; None where there is no verdict. A tie of a majority goes to the middle's mean."""
    given = [Fraction(vote) for vote in votes if vote is not None]
    if len(given) < quorum:
        return None
    above = sum(vote >= Fraction(threshold) for vote in given)
    if rule == "unanimous":
        return above == len(given) if points >= 0 else above > 0
    if rule == "mean":
        return sum(given) >= Fraction(threshold) * len(given)
    if 2 * above != len(given):
        return 2 * above > len(given)
    middle = sorted(given)[len(given) // 2 - 1 : len(given) // 2 + 1]
    return sum(middle) >= 2 * Fraction(threshold)


def test_20_000_panels_decide_as_counting_by_hand_does() -> None:
    rng = random.Random(0)
    tried = no_verdict = 0
    for _ in range(20_000):
        members = rng.randint(2, 7)
        # Eighths are exact as floats, and so are their sums: a tie is a tie.
        votes = [None if rng.random() < 0.2 else rng.randint(0, 8) / 8 for _ in range(members)]
        rule, quorum = rng.choice(RULES), rng.randint(1, members)
        points, threshold = rng.choice((-2.0, 0.0, 3.0)), rng.randint(0, 8) / 8
        said: list[Said] = [
            (f"m{n}", Judgement("timeout", "judge") if vote is None else gave(vote, threshold))
            for n, vote in enumerate(votes)
        ]
        found = combined(said, rule, quorum, criterion(points), threshold)
        assert found.met == oracle(votes, rule, quorum, points, threshold)
        if found.ok:
            assert found.p is not None and found.met == (found.p >= threshold), "P and the decision are of one mind"
        else:
            assert (found.met, found.p, found.status) == (None, None, "timeout")
        assert [name for name, _ in found.members] == [f"m{n}" for n in range(members)]
        tried += 1
        no_verdict += not found.ok
    assert tried == 20_000 and 2_000 < no_verdict < 10_000


@pytest.mark.parametrize("rule", RULES)
def test_order_decides_nothing_and_a_member_that_says_more_never_lowers_p(rule: PanelRule) -> None:
    rng = random.Random(1)
    for _ in range(3_000):
        votes = [rng.random() for _ in range(rng.randint(1, 6))]
        wanted = rng.random() < 0.5
        p = joint(votes, rule, wanted=wanted)
        assert min(votes) <= p <= max(votes) or p == pytest.approx(votes[0])
        assert joint(rng.sample(votes, len(votes)), rule, wanted=wanted) == p
        more = [vote + (1 - vote) * rng.random() for vote in votes]
        assert joint(more, rule, wanted=wanted) >= p - 1e-15
        assert joint([votes[0]] * 5, rule, wanted=wanted) == pytest.approx(votes[0])


def test_below_the_quorum_there_is_no_verdict_and_the_reason_is_named() -> None:
    said: list[Said] = [("a", gave(0.9)), ("b", Judgement("engine_error", "judge", detail="it died")), ("c", gave(0.8))]
    found = combined(said, "mean", 3, criterion(), 0.5)
    assert (found.status, found.met, found.p) == ("engine_error", None, None)
    assert found.detail == "2 of 3 members judged, and the quorum is 3; `b` engine_error: it died"
    assert combined(said, "mean", 2, criterion(), 0.5).p == pytest.approx(0.85)


def test_a_verdict_is_from_the_cache_where_all_are_and_has_the_explanation_of_its_side() -> None:
    cached = Judgement("ok", "cache", met=True, p=0.9, label_mass=0.7, explanation="yes")
    against = Judgement("ok", "cache", met=False, p=0.4, label_mass=0.9, explanation="no")
    found = combined([("a", against), ("b", cached)], "mean", 2, criterion(), 0.5)
    assert (found.source, found.explanation, found.label_mass) == ("cache", "yes", 0.7)
    assert found.disagreement == pytest.approx(0.5)
    assert combined([("a", against), ("b", gave(0.9))], "mean", 2, criterion(), 0.5).source == "judge"


def test_levels_have_the_mean_of_their_probabilities() -> None:
    levels = criterion(options=(Option("none", 0.0), Option("some", 0.5), Option("all", 1.0)))
    a = Judgement("ok", "judge", level=0, p_levels=(0.6, 0.3, 0.1), value=0.25)
    b = Judgement("ok", "judge", level=2, p_levels=(0.0, 0.4, 0.6), value=0.8)
    found = combined([("a", a), ("b", b)], "majority", 2, levels, 0.5)
    assert found.p_levels == pytest.approx((0.3, 0.35, 0.35))
    assert (found.level, found.met) == (2, True)  # of equal ones the level of the larger value
    assert found.p == pytest.approx(0.7)
    assert found.value == pytest.approx(0.525)
    without = combined([("a", a), ("b", gave(0.9))], "mean", 2, levels, 0.5)
    assert (without.status, without.value) == ("unparseable", None)


@pytest.mark.parametrize("rule", RULES)
def test_what_members_gave_before_their_calibrations_is_combined_by_the_same_rule(rule: PanelRule) -> None:
    a = Judgement("ok", "judge", met=True, p=0.9, p_raw=0.5)
    b = Judgement("ok", "judge", met=False, p=0.2, p_raw=0.4)
    found = combined([("a", a), ("b", b)], rule, 2, criterion(), 0.5)
    assert (found.p, found.p_raw) == (joint([0.9, 0.2], rule, wanted=True), joint([0.5, 0.4], rule, wanted=True))
    silent = combined([("a", a), ("b", replace(b, p_raw=None))], rule, 2, criterion(), 0.5)
    assert (silent.ok, silent.p_raw) == (True, None)


def test_levels_before_a_calibration_are_combined_and_members_disagree_on_them() -> None:
    levels = criterion(options=(Option("none", 0.0), Option("some", 0.5), Option("all", 1.0)))
    a = judged_level((0.6, 0.3, 0.1), levels.options, threshold=0.5, source="judge", raw=(0.8, 0.2, 0.0))
    b = judged_level((0.0, 0.4, 0.6), levels.options, threshold=0.5, source="judge")
    found = combined([("a", a), ("b", b)], "mean", 2, levels, 0.5)
    assert found.p_levels_raw == pytest.approx((0.4, 0.3, 0.3)) and found.p_raw == pytest.approx(0.6)
    assert found.disagreement == pytest.approx(0.6)  # P(met) .4 and 1
    assert combined([("b", b), ("c", b)], "mean", 2, levels, 0.5).p_levels_raw is None, "nothing was calibrated"
    alone = combined([("a", a), ("b", Judgement("timeout", "judge"))], "mean", 1, levels, 0.5)
    assert (alone.p_levels_raw, alone.disagreement, alone.missing) == (a.p_levels_raw, None, ("b",))


def extracted(value: str | None, met: bool) -> Judgement:
    return Judgement("ok", "judge", met=met, extracted=value)


def test_2_000_panels_of_extracted_values_are_votes_without_a_probability() -> None:
    """Met by a majority, or by all, or by any where it is a fault; half of the votes is no verdict."""
    rng = random.Random(1)
    asked = Extraction("number", "The dose.", Rule("exact", {"gold": "4"}))
    even = 0
    for _ in range(2_000):
        votes = [rng.random() < 0.5 for _ in range(rng.randint(1, 6))]
        rule, points = rng.choice(RULES), rng.choice((-2.0, 3.0))
        said: list[Said] = [(f"m{n}", extracted("4" if vote else f"1{n}", vote)) for n, vote in enumerate(votes)]
        found = combined(said, rule, len(votes), replace(criterion(points), extraction=asked), 0.5)
        some = sum(votes)
        wanted: bool | None = 2 * some > len(votes) if 2 * some != len(votes) else None
        if rule == "unanimous":
            wanted = some == len(votes) if points > 0 else some > 0
        assert (found.met, found.p, found.p_raw, found.disagreement) == (wanted, None, None, None)
        if wanted is None:
            even += 1
            assert (found.status, found.extracted) == ("abstained", None)
        else:
            assert (found.status, found.extracted == "4") == ("ok", wanted)
    assert even > 100


def test_a_verdict_without_a_probability_is_none_of_zero_or_one() -> None:
    said: list[Said] = [("a", gave(0.9)), ("b", Judgement("ok", "judge", met=True))]
    found = combined(said, "mean", 2, criterion(), 0.5)
    assert (found.status, found.met, found.p) == ("unparseable", None, None)

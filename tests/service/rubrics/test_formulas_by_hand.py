"""Formulas against computation by hand, with the papers' arithmetic."""

from dataclasses import replace
from functools import partial

import pytest

from service.errors import InvalidRequest
from service.rubrics.aggregation import aggregate, check
from service.rubrics.judgement import Judgement
from tests.service.rubrics.cases import UNJUDGED, criterion, judged, score
from trainer_client.formulas import AGGREGATIONS, RAR_WEIGHTS, Aggregation

# HealthBench: 5, 10 and 7 wanted, -6 and -8 faults; 5 and 7 and -6 are met.
MIXED: tuple[tuple[float, float | None], ...] = ((5, 1), (10, 0), (7, 1), (-6, 1), (-8, 0))
FAULTS: tuple[tuple[float, float | None], ...] = ((-6, 1), (-2, 0))
SOFT: tuple[tuple[float, float | None], ...] = ((4, 0.75), (-2, 0.25))


@pytest.mark.parametrize(
    ("name", "pairs", "soft", "expected"),
    [
        ("healthbench", MIXED, False, (5 + 7 - 6) / 22),
        ("healthbench", ((2, 0), (-8, 1)), False, -4.0),
        ("healthbench", ((7, 0), (-8, 1), (-6, 1), (-4, 1), (-5, 1)), False, -23 / 7),  # the worst of HealthBench-500
        ("healthbench", FAULTS, False, -6 / 8),
        ("healthbench", ((-6, 0), (-2, 0)), False, 0.0),
        ("healthbench", SOFT, True, (3 - 0.5) / 4),
        ("healthbench", SOFT, False, 1.0),
        ("healthbench_clipped", MIXED, False, 6 / 22),
        ("healthbench_clipped", ((2, 0), (-8, 1)), False, 0.0),
        ("healthbench_clipped", FAULTS, False, 1 - 6 / 8),
        ("healthbench_clipped", ((-6, 0), (-2, 0)), False, 1.0),
        ("weighted_abs", MIXED, False, (5 + 7 + 8) / 36),
        ("weighted_abs", FAULTS, False, 2 / 8),
        ("weighted_abs", SOFT, True, (3 + 1.5) / 6),
        ("rar_explicit", MIXED, False, (5 + 7 + 8) / 36),
        ("all_pass", MIXED, False, 0.0),
        ("all_pass", ((5, 1), (-6, 0)), False, 1.0),
        ("all_pass", ((5, 1), (-6, 1)), False, 0.0),
        ("all_pass", SOFT, True, 0.75 * 0.75),
        ("mean", MIXED, False, 3 / 5),
        ("mean", FAULTS, False, 1 / 2),
        ("min", MIXED, False, 0.0),
        ("min", ((4, 0.9), (-2, 0.25)), True, 0.75),
        ("gated", MIXED, False, (5 + 7 + 8) / 36),
    ],
)
def test_by_hand(name: str, pairs: tuple[tuple[float, float | None], ...], soft: bool, expected: float) -> None:
    found = score(name, *pairs, soft=soft)
    assert found.value == pytest.approx(expected, abs=1e-15)
    assert (found.bounds, found.coverage, found.status) == ((found.value, found.value), 1.0, "ok")


RAR = [criterion(5, "essential"), criterion(4, "important"), criterion(1, "optional"), criterion(-1, "pitfall")]


def test_rar_weighs_by_category_and_not_by_points() -> None:
    """Equation 1 of Rubrics as Rewards with the weights of version 2 of the paper and, for pitfalls, of version 1."""
    version_1 = Aggregation("rar_explicit", category_weights={**RAR_WEIGHTS, "pitfall": 0.8})
    verdicts = [judged(True), judged(False), judged(True), judged(False)]
    fallen = [*verdicts[:3], judged(True)]
    avoided = [*RAR[:3], criterion(1, "pitfall")]
    for chosen, pitfall, total in ((Aggregation("rar_explicit"), 0.9, 2.9), (version_1, 0.8, 2.8)):
        assert aggregate(chosen, RAR, verdicts).value == pytest.approx((1.0 + 0.3 + pitfall) / total)
        assert aggregate(chosen, RAR, fallen).value == pytest.approx(1.3 / total)
        assert aggregate(chosen, avoided, fallen).value == pytest.approx((1.0 + 0.3 + pitfall) / total)


def test_rar_with_some_categories_is_refused_by_index_alone() -> None:
    rubric = [replace(criterion(1), id="secret", text="secret"), RAR[0], criterion(0), criterion(-2)]
    with pytest.raises(InvalidRequest) as caught:
        check(Aggregation("rar_explicit"), rubric)
    assert "indexes have none: 0, 3;" in str(caught.value)
    assert [place for place, _ in caught.value.errors] == [("criteria", 0), ("criteria", 3)]
    assert "secret" not in repr(caught.value.errors) + str(caught.value)
    with pytest.raises(InvalidRequest):
        aggregate(Aggregation("rar_explicit"), rubric, [UNJUDGED] * 4)
    check(Aggregation("rar_explicit"), [RAR[0], criterion(0)])
    for name in set(AGGREGATIONS) - {"rar_explicit"}:
        check(Aggregation(name), rubric)


def test_the_gate_is_hard_also_where_the_values_are_soft() -> None:
    rubric = [criterion(3, "essential"), criterion(-1, "essential"), criterion(4)]
    open_gate = [judged(True, 0.6), judged(False, 0.4), judged(False, 0.25)]
    assert aggregate(Aggregation("gated"), rubric, open_gate).value == pytest.approx(4 / 8)
    assert aggregate(Aggregation("gated"), rubric, open_gate, soft=True).value == pytest.approx((1.8 + 0.6 + 1.0) / 8)
    for shut in ([judged(False, 0.6), *open_gate[1:]], [open_gate[0], judged(True, 0.4), open_gate[2]]):
        assert aggregate(Aggregation("gated"), rubric, shut, soft=True).value == 0.0


def test_a_rule_has_a_verdict_and_may_have_no_probability() -> None:
    verdicts = [Judgement(status="ok", source="rule", met=True), judged(False, 0.25)]
    assert aggregate(Aggregation("mean"), [criterion(1), criterion(1)], verdicts, soft=True).value == 0.625


# Three dimensions by hand: weights 3 + 1, 4 and 2; the last criterion is a dimension of its own.
DIMENSIONS = [
    criterion(3, dimension="safety"),
    criterion(-1, dimension="safety"),
    criterion(4, dimension="style"),
    criterion(2),
]
BY_DIMENSION = partial(Aggregation, tag="dimension")


@pytest.mark.parametrize(
    ("met", "whole"),
    [((1, 0, 1, 0), (4 + 4) / 10), ((1, 1, 1, 0), 4 / 10), ((0, 0, 1, 1), (4 + 2) / 10), ((0, 1, 0, 0), 0.0)],
)
def test_a_conjunctive_dimension_counts_whole_or_not(met: tuple[int, ...], whole: float) -> None:
    """ProRubric: s_k is the product of the q of its criteria, w_k the sum of their |w|."""
    found = aggregate(BY_DIMENSION("conjunctive"), DIMENSIONS, [judged(bool(one)) for one in met])
    assert found.value == pytest.approx(whole, abs=1e-15)


def test_a_soft_conjunction_is_a_product() -> None:
    soft = [judged(True, 0.5), judged(False, 0.25), judged(True, 0.75), judged(False, 0.0)]
    found = aggregate(BY_DIMENSION("conjunctive"), DIMENSIONS, soft, soft=True)
    assert found.value == (4 * 0.5 * 0.75 + 4 * 0.75) / 10


def test_a_dimension_may_be_a_category_that_the_text_gave() -> None:
    rubric = [criterion(1, "essential"), criterion(1, "essential"), criterion(1, "optional")]
    verdicts = [judged(True), judged(False), judged(True)]
    assert aggregate(Aggregation("conjunctive", tag="category"), rubric, verdicts).value == pytest.approx(1 / 3)


FACTS = [criterion(5, kind="factual"), criterion(-2, kind="factual"), criterion(3, kind="process"), criterion(2)]


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        ((1, 0, 0, 0), 1.0),
        ((1, 1, 1, 1), (5 + 3 + 2) / 12),
        ((0, 0, 1, 0), (2 + 3) / 12),
    ],
)
def test_all_facts_right_are_worth_everything(met: tuple[int, ...], expected: float) -> None:
    """RGR-GRPO: 1 where all factual criteria pass, else the weighted mean."""
    gate = Aggregation("factual_gate", tag="kind", tag_value="factual")
    assert aggregate(gate, FACTS, [judged(bool(one)) for one in met]).value == pytest.approx(expected)
    none = [criterion(one.points) for one in FACTS]
    plain = aggregate(Aggregation("weighted_abs"), none, [judged(bool(one)) for one in met])
    assert aggregate(gate, none, [judged(bool(one)) for one in met]) == plain


VETOED = [criterion(-1, veto="hacks the judge"), criterion(6), criterion(3)]


@pytest.mark.parametrize(("met", "expected"), [((0, 1, 0), 7 / 10), ((1, 1, 1), 0.0), ((0, 0, 0), 1 / 10)])
def test_a_veto_takes_everything(met: tuple[int, ...], expected: float) -> None:
    """Rubicon: failing a critical criterion nullifies what the others give."""
    verdicts = [judged(bool(one)) for one in met]
    assert aggregate(Aggregation("veto", tag="veto"), VETOED, verdicts).value == pytest.approx(expected)
    other = Aggregation("veto", tag="veto", tag_value="another")
    assert aggregate(other, VETOED, verdicts) == aggregate(Aggregation("weighted_abs"), VETOED, verdicts)


STYLE = [criterion(1, dimension="style") for _ in range(4)] + [criterion(4, dimension="facts")]


@pytest.mark.parametrize(
    ("styles", "facts", "capped", "saturated"),
    [
        # Capped: (4·min(s, ½) + 4·min(t, ½)) / (½·8); saturated: (4·f(s) + 4·f(t)) / 8 with f(s) = 1.5·s / (s + ½).
        (0, 0, 0.0, 0.0),
        (1, 0, 0.25, 0.5 * (1.5 * 0.25 / 0.75)),
        (2, 0, 0.5, 0.5 * (1.5 * 0.5 / 1.0)),
        (4, 0, 0.5, 0.5),
        (2, 1, 1.0, 0.5 * 0.75 + 0.5),
        (4, 1, 1.0, 1.0),
    ],
)
def test_one_dimension_cannot_pay_for_all(styles: int, facts: int, capped: float, saturated: float) -> None:
    """Rubicon: beyond a threshold a dimension's further steps give less, or nothing."""
    verdicts = [judged(n < styles) for n in range(4)] + [judged(bool(facts))]
    assert aggregate(BY_DIMENSION("caps", cap=0.5), STYLE, verdicts).value == capped
    found = aggregate(BY_DIMENSION("saturation", half_saturation=0.5), STYLE, verdicts).value
    assert found == pytest.approx(saturated, abs=1e-15)


@pytest.mark.parametrize("name", ["conjunctive", "factual_gate", "veto", "caps", "saturation"])
def test_without_positive_points_no_fault_is_the_best(name: str) -> None:
    chosen = Aggregation(name, tag="t", cap=0.5)
    faults = [criterion(-3, t="a"), criterion(-2, t="b")]
    assert aggregate(chosen, faults, [judged(False), judged(False)]).value == 1.0
    assert aggregate(chosen, faults, [judged(True), judged(True)]).value == 0.0

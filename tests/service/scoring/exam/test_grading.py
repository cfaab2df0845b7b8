"""What an exam says of a judge, and what P(met) says of labels, against other ways to compute them."""

import math
import random
from collections.abc import Sequence

import pytest

from service.api.operator_files.labelled_rows import built_in_exam
from service.scoring.exam.grading import PROVEN_FROM, agree, auroc, exact_interval, grade
from service.scoring.exam.questions import Question, pairs_of

QUESTIONS = built_in_exam().questions


def answers(right: int, *, seed: int = 0) -> list[float | None]:
    """Of a judge that gets this many pairs right."""
    rng = random.Random(seed)
    found: list[float | None] = [0.5] * len(QUESTIONS)
    pairs = pairs_of(QUESTIONS)
    wanted = set(rng.sample(range(len(pairs)), right))
    for n, (met, unmet) in enumerate(pairs):
        found[met], found[unmet] = (0.6, 0.4) if n in wanted else (0.4, 0.6)
    return found


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 1, 0.000000000, 0.975000000),
        (0, 20, 0.000000000, 0.168433471),
        (20, 20, 0.831566529, 1.000000000),
        (33, 40, 0.672209867, 0.926617271),
        (32, 40, 0.643521981, 0.909477591),
        (20, 40, 0.338017814, 0.661982186),
        (21, 24, 0.676388642, 0.973440685),
        (13, 20, 0.407811465, 0.846090795),
        (100, 133, 0.669562742, 0.822641368),
    ],
)
def test_the_interval_is_scipys(successes: int, trials: int, low: float, high: float) -> None:
    """`scipy.stats.binomtest(...).proportion_ci(0.95, "exact")`."""
    assert exact_interval(successes, trials) == pytest.approx((low, high), abs=1e-8)


def test_proven_is_a_whole_interval_above_two_thirds() -> None:
    found = {right: grade("verdict", QUESTIONS, answers(right)) for right in range(41)}
    assert [right for right, one in found.items() if one.trust == "proven"] == list(range(33, 41))
    for right, one in found.items():
        assert (one.right, one.pairs, one.accuracy) == (right, 40, right / 40)
        assert (one.trust == "proven") is (one.interval[0] >= PROVEN_FROM) is (one.reason is None)
    assert "20 of 40 pairs" in (found[20].reason or "")


def test_how_often_it_errs() -> None:
    """Chance is proven in one of 47,000 exams; a judge that is right in 95 of 100 pairs is not in one of 1,000."""

    def at_least(least: int, share: float) -> float:
        return sum(math.comb(40, k) * share**k * (1 - share) ** (40 - k) for k in range(least, 41))

    assert at_least(33, 0.5) < 1 / 47_000
    assert 1 - at_least(33, 0.95) < 1 / 1_000


def test_a_tie_and_a_missing_answer_are_not_right() -> None:
    assert grade("verdict", QUESTIONS, [0.7] * 80).right == 0
    known: list[float | None] = answers(40)
    met, _ = pairs_of(QUESTIONS)[3]
    known[met] = None
    found = grade("verdict", QUESTIONS, known)
    assert (found.right, found.answered, found.trust) == (39, 79, "proven")


@pytest.mark.parametrize("mode", ["verdict", "reasoned", "implicit", "likert"])
def test_a_mode_that_answers_less_than_half_fails(mode: str) -> None:
    few = [answer if n < 39 else None for n, answer in enumerate(answers(40))]
    found = grade(mode, QUESTIONS, few)
    assert (found.trust, found.answered) == ("failed", 39)
    assert "answered 39 of 80" in (found.reason or "")
    assert grade(mode, QUESTIONS, [None] * 80).auroc is None


def test_a_written_met_of_what_an_empty_response_lacks_fails_the_mode() -> None:
    invents = [0.9 if one.on_empty else 0.8 if one.met else 0.1 for one in QUESTIONS]
    found = grade("reasoned", QUESTIONS, invents)
    assert (found.trust, found.met_when_empty) == ("failed", 1.0)
    assert "empty" in (found.reason or "")
    plain = grade("verdict", QUESTIONS, invents)
    assert (plain.trust, plain.met_when_empty) == ("proven", 1.0), "its P(met) has an order, and thresholds are set"
    assert grade("implicit", QUESTIONS, [9.0] * 80).met_when_empty is None, "a rating is no P(met)"


def test_1_000_random_sets_agree_with_their_definitions() -> None:
    rng = random.Random(1)
    for _ in range(1_000):
        digits = rng.randint(1, 4)
        p = [round(rng.random(), digits) for _ in range(rng.randint(2, 60))]
        met = [True, False, *(rng.random() < 0.5 for _ in p[2:])]
        found = agree(asked(met), p)
        assert found is not None
        pairs = [(a, b) for a, one in zip(p, met, strict=True) for b, other in zip(p, met, strict=True) if one > other]
        assert found.auroc == pytest.approx(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs), abs=1e-12)
        told = [min(max(q if one else 1 - q, 1e-6), 1 - 1e-6) for q, one in zip(p, met, strict=True)]
        assert found.log_loss == pytest.approx(-sum(map(math.log, told)) / len(p), abs=1e-12)
        assert found.brier == pytest.approx(sum((q - one) ** 2 for q, one in zip(p, met, strict=True)) / len(p))
        assert found.agreement == sum((q >= 0.5) == one for q, one in zip(p, met, strict=True)) / len(p)


def asked(met: Sequence[bool]) -> list[Question]:
    return [Question(QUESTIONS[0].candidate, QUESTIONS[0].criterion, one) for one in met]


def test_calibrated_answers_have_a_small_error_and_turned_ones_a_large_one() -> None:
    rng = random.Random(2)
    p = [rng.random() for _ in range(20_000)]
    met = [rng.random() < one for one in p]
    good, turned = agree(asked(met), p), agree(asked(met), [1 - one for one in p])
    assert good is not None and turned is not None
    assert good.ece < 0.02 and turned.ece == pytest.approx(0.5, abs=0.02)


def test_what_has_no_answer_is_in_no_figure() -> None:
    assert agree(QUESTIONS, [None] * 80) is None
    found = agree(QUESTIONS[:3], [0.9, None, 0.9])
    assert found is not None and (found.labels, found.judged) == (3, 2)
    assert auroc([(True, 0.3)]) is None

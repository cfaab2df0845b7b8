"""The options of graded criteria have labels, and their probabilities are the judge's, in one pass or two."""

import math
from random import Random

import pytest

from service.engine.base import EngineIdentity, LabelLogprobs
from service.errors import ConfigurationError, Unparseable
from service.modes.label_verdict import read_verdict
from service.modes.level_labels import DIGITS, LETTERS, LevelLabels, level_labels, read_levels, read_levels_in_two
from service.modes.modes import VerdictMode
from service.modes.registry import judging_modes
from service.settings import Settings
from testkit.tokenizer_families import FAMILIES, family
from trainer_client.wire.graded import MOST_CHOICES

LABELS = LevelLabels(tuple(range(100, 120)), tuple(range(10)))


def logs(*masses: float) -> LabelLogprobs:
    return LabelLogprobs(tuple(math.log(mass) for mass in masses))


def test_two_options_have_the_numbers_of_a_plain_verdict() -> None:
    """1,000 pairs of log-probabilities: equal, not close, whichever of the two labels means met."""
    random = Random(1)
    for _ in range(1000):
        a, b = math.log(random.random() / 2 + 1e-12), math.log(random.random() / 2 + 1e-12)
        plain, reverse = read_verdict(LabelLogprobs((a, b))), read_verdict(LabelLogprobs((b, a)))
        levels = read_levels(LabelLogprobs((a, b)), 2)
        assert levels.p_levels == (plain.p_met, reverse.p_met)
        assert levels.label_mass == plain.label_mass


def test_options_share_what_all_of_them_hold() -> None:
    found = read_levels(logs(0.1, 0.2, 0.5), 3)
    assert found.p_levels == pytest.approx((0.125, 0.25, 0.625))
    assert found.label_mass == pytest.approx(0.8)


def test_two_steps_are_the_exact_product() -> None:
    """200 judges with 21 to 200 options, against the joint distribution of letter and digit: 0 wrong."""
    random = Random(2)
    for _ in range(200):
        options = random.randint(21, MOST_CHOICES)
        letters = -(-options // 10)
        first = _masses(random, letters, 0.9)
        behind = [_masses(random, min(10, options - 10 * place), 0.95) for place in range(letters)]
        found = read_levels_in_two(logs(*first), [logs(*masses) for masses in behind], options)
        joint = [p * q for p, masses in zip(first, behind, strict=True) for q in masses]
        assert found.label_mass == pytest.approx(sum(joint))
        assert found.p_levels == pytest.approx([p / sum(joint) for p in joint])
        assert math.fsum(found.p_levels) == pytest.approx(1)


def _masses(random: Random, count: int, whole: float) -> list[float]:
    weights = [random.random() + 1e-6 for _ in range(count)]
    return [whole * weight / sum(weights) for weight in weights]


def test_each_option_has_a_name_and_labels_of_its_own() -> None:
    for options in range(2, MOST_CHOICES + 1):
        names = LABELS.names(options)
        assert len(set(names)) == options
        first = LABELS.first_ids(options)
        if not LABELS.in_two_steps(options):
            assert len(first) == options
            continue
        behind = [LABELS.digits_behind(place, options) for place in range(len(first))]
        paths = [(first[place], digit) for place, digits in enumerate(behind) for digit in digits]
        assert len(paths) == len(set(paths)) == options
        assert [(LETTERS.index(name[0]), int(name[1])) for name in names] == [(a - 100, b) for a, b in paths]
    assert LABELS.most == MOST_CHOICES


@pytest.mark.parametrize("read", [logs(0.6, 0.6, 0.6), LabelLogprobs((math.nan, -1.0, -1.0)), logs(0.1, 0.1)])
def test_what_is_no_distribution_is_unparseable(read: LabelLogprobs) -> None:
    with pytest.raises(Unparseable):
        read_levels(read, 3)


def test_too_few_letters_are_refused_and_letters_without_digits_have_one_step() -> None:
    with pytest.raises(ConfigurationError, match="9 of the letters"):
        level_labels([(n,) for n in range(9)] + [None] * 11, [None] * 200)
    some = level_labels([(n,) for n in range(12)] + [(5,)] + [None] * 7, [None] * 200)
    assert (len(some.letter_ids), some.most) == (12, 12)
    same_digit = level_labels([(n,) for n in range(20)], [(n // 10, 50) for n in range(200)])
    assert same_digit.digit_ids == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tokenizer_family_reads_levels_or_says_why_not(name: str) -> None:
    modes = judging_modes(EngineIdentity("m", "r", "e", {}), family(name), Settings())
    mode = modes.first
    assert isinstance(mode, VerdictMode)
    if mode.readings.levels is None:
        assert dict(mode.readings.why_not)["levels"]
        return
    labels = mode.readings.levels.labels
    assert len(labels.letter_ids) >= len(DIGITS)
    assert mode.renderer.graded is not None
    tail = mode.renderer.graded.behind_tail(LETTERS)
    assert [ids for ids in tail if ids is not None and len(ids) == 1][: len(labels.letter_ids)] == [
        (id,) for id in labels.letter_ids
    ]

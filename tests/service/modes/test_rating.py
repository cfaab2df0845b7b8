"""A rating is the judge's own distribution over 1..10, also where "10" is two tokens."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import LabelLogprobs
from service.errors import ConfigurationError, Unparseable
from service.modes.rating import Rating, Scale, find_scale, read_rating
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from testkit.tokenizer_families import FAMILIES, family

UNIT = st.floats(0.001, 1.0)


def logs(*masses: float) -> LabelLogprobs:
    return LabelLogprobs(logprobs=tuple(math.log(mass) if mass else -9999.0 for mass in masses))


@given(st.lists(UNIT, min_size=10, max_size=10))
def test_ten_tokens_are_read_as_they_are(weights: list[float]) -> None:
    total = sum(weights) * 1.25
    rating = read_rating(logs(*(w / total for w in weights)), None)
    assert rating.label_mass == pytest.approx(0.8)
    assert rating.probabilities == pytest.approx([w / sum(weights) for w in weights])
    assert rating.expected == pytest.approx(sum((n + 1) * w for n, w in enumerate(weights)) / sum(weights))


@given(st.lists(UNIT, min_size=9, max_size=9), st.lists(UNIT, min_size=10, max_size=10))
def test_a_ten_of_two_tokens_takes_its_share_of_the_one(first: list[float], after: list[float]) -> None:
    """By the chain rule over whole answers: "1" then nothing, "10", and "11" to "19", which are no ratings."""
    total, followed = sum(first) * 1.1, sum(after) * 1.5
    p1 = [w / total for w in first]
    p2 = [w / followed for w in after]
    rating = read_rating(logs(*p1), logs(*p2))
    masses = [p1[0] * (1 - sum(p2)), *p1[1:], p1[0] * p2[0]]
    assert rating.label_mass == pytest.approx(sum(masses))
    assert rating.probabilities == pytest.approx([m / sum(masses) for m in masses])


def test_a_sure_ten_is_ten_and_a_sure_one_is_one() -> None:
    nothing = [0.0] * 8
    ten = read_rating(logs(0.99, *nothing), logs(0.98, *[0.0] * 9))
    one = read_rating(logs(0.99, *nothing), logs(*[0.0] * 10))
    assert (ten.most_likely, one.most_likely) == (10, 1)
    assert (round(ten.expected, 2), one.expected) == (9.82, 1.0)


def test_both_norms() -> None:
    rating = Rating(probabilities=(0.5, *[0.0] * 8, 0.5), label_mass=1.0)
    assert rating.expected == 5.5
    assert (rating.normalised("(r-1)/9"), rating.normalised("r/10")) == (0.5, 0.55)


@pytest.mark.parametrize(
    "first", [logs(*[0.05] * 9), LabelLogprobs((math.nan,) * 10), logs(*[0.0] * 10), logs(*[0.2] * 10)]
)
def test_what_is_no_distribution_is_no_rating(first: LabelLogprobs) -> None:
    with pytest.raises(Unparseable):
        read_rating(first, None)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_scale_is_found_in_every_family_or_refused(name: str) -> None:
    renderer = Renderer(Segmenter(family(name)), build_skeleton(family(name), mode="likert"))
    found = find_scale(renderer)
    assert len(set(found.digit_ids)) == 10
    decoded = [Segmenter(family(name)).decode([id]).strip() for id in found.first_ids]
    assert decoded == [*"123456789", *(["10"] if found.ten_id is not None else [])]


def test_digits_that_cannot_be_told_apart_are_refused() -> None:
    class Odd:
        def label_ids(self, labels: tuple[str, ...], *, settable: bool) -> tuple[int, ...]:
            return tuple(range(10))

        def ids_after(self, label: str) -> tuple[int, ...]:
            return (77, 78)

    with pytest.raises(ConfigurationError, match="not distinct"):
        find_scale(Odd())  # type: ignore[arg-type]
    assert Scale(tuple(range(10)), None).first_ids == tuple(range(1, 10))

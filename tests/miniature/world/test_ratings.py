"""Ratings: the exact reward on a scale of ten, by the rubric that is shown or by the topic's own."""

from random import Random

import pytest

from miniature.world.cases import training
from miniature.world.clinic import TOPICS, Criterion, held_out, key_items, rubric
from miniature.world.oracle import read, reward
from miniature.world.ratings import by_rubric, by_topic, rating, reference_answer
from miniature.world.responses import Response, Step, plain_text


def test_the_rating_is_the_reward_rounded_and_clipped() -> None:
    topic = TOPICS[3]
    items = key_items(topic)
    asked = tuple(
        Criterion("item", points, item=item) for points, item in zip((4.0, 4.0, 1.0, -9.0), items, strict=True)
    )
    said = [
        plain_text(Response(None, tuple(Step(item) for item in some))) for some in ((), items[:1], items[:3], items)
    ]
    assert [rating(asked, text) for text in said] == [1, 5, 10, 1]


def test_the_reference_answer_meets_all_that_is_good() -> None:
    for topic in TOPICS:
        assert reward(rubric(topic), reference_answer(topic)) == pytest.approx(1.0)
        assert rating(rubric(topic), reference_answer(topic)) == 10


def test_a_rating_of_the_training_rests_on_no_held_out_combination() -> None:
    random = Random(0)
    for index in range(200):
        case = training(5, index)
        for one in (*by_rubric(case, random, 2), by_topic(case, random, referenced=True, training=True)):
            assert 1 <= one.rating <= 10
            assert not any(c.item is not None and held_out(case.topic, c.item) for c in one.rubric)
            said = read(one.reference or "").steps
            assert not any(held_out(case.topic, step.item) for step in said)

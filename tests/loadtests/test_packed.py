"""Packed prompts hold the criteria before them, and two arms are compared where both gave a verdict."""

import pytest

from loadtests.packed import Arm, compared, packed
from service.engine.base import Prompt


def test_each_packed_prompt_begins_with_the_whole_one_before_it() -> None:
    alone = [Prompt((1, 2), (3,)), Prompt((1, 2), (4, 5)), Prompt((1, 2), (6,))]
    assert [prompt.ids for prompt in packed(alone)] == [(1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)]
    assert [prompt.own for prompt in packed(alone)] == [prompt.own for prompt in alone]


def test_a_missing_verdict_is_in_neither_the_agreement_nor_the_accuracy() -> None:
    first, second = Arm("one by one", [0.9, 0.2, 0.8]), Arm("packed", [0.6, 0.7, None])
    found = compared(first, second, [True, False, True])
    assert found["same"] == 0.5 and found["criteria"] == 3
    assert (found["one by one"]["judged"], found["one by one"]["accuracy"]) == (3, 1.0)
    assert (found["packed"]["judged"], found["packed"]["accuracy"]) == (2, 0.5)
    assert found["mean_apart"] == pytest.approx(0.4)

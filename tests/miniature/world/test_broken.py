"""Broken responses: most say less than before, none says what the stream may not, and what is half said is found."""

from random import Random

from miniature.world.broken import broken, half_said
from miniature.world.cases import BROKEN, Mix, evaluation, training
from miniature.world.clinic import held_out
from miniature.world.oracle import met, steps

N = 600


def test_the_same_random_breaks_alike_and_most_broken_texts_say_less() -> None:
    cases = [evaluation(11, index) for index in range(N)]
    texts = [broken(case.response, Random(n)) for n, case in enumerate(cases)]
    assert texts == [broken(case.response, Random(n)) for n, case in enumerate(cases)]
    changed = sum(text != case.response for text, case in zip(texts, cases, strict=True))
    fewer = sum(len(steps(text)) < len(steps(case.response)) for text, case in zip(texts, cases, strict=True))
    assert changed > 0.85 * N
    assert fewer > 0.5 * N


def test_what_is_half_said_is_an_item_with_a_word_in_the_text() -> None:
    assert [item.id for item in half_said("For Stiff Neck: 1. Eat peas. 2. Ask for wool biopsy.")] == [
        "use-frozen-peas",
        "wear-wool-socks",
        "ask-for-a-biopsy",
    ]
    assert half_said("1. Use frozen peas.") == ()
    assert half_said("1. Use Use frozen peas.")[0].id == "use-frozen-peas"


def test_broken_cases_ask_about_what_is_half_said_and_hold_the_truth() -> None:
    asked = 0
    for index in range(N):
        case = training(12, index, Mix(broken=1.0))
        assert case.met == tuple(met(criterion, case.response) for criterion in case.criteria)
        assert not any(held_out(case.topic, step.item) for step in steps(case.response))
        assert not any(c.item is not None and held_out(case.topic, c.item) for c in case.criteria)
        asked += any(c.item in half_said(case.response) for c in case.criteria)
    assert asked > 0.5 * N


def test_broken_cases_for_evaluation_ask_about_a_held_out_combination() -> None:
    for index in range(100):
        case = evaluation(13, index, BROKEN)
        assert any(c.item is not None and held_out(case.topic, c.item) for c in case.criteria)

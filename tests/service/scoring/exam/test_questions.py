"""The built-in exam: what is in it, and that a judge which looks at one side of a question gets half of it."""

import random
from collections import Counter

from service.api.operator_files.labelled_rows import built_in_exam
from service.prompting.renderer import rubric_items
from service.scoring.exam.grading import grade
from service.scoring.exam.questions import WANTED, Question, pairs_of

EXAM = built_in_exam()


def test_a_pair_differs_in_the_response_alone() -> None:
    pairs = pairs_of(EXAM.questions)
    assert (len(EXAM.questions), len(pairs)) == (80, 40)
    for met, unmet in pairs:
        one, other = EXAM.questions[met], EXAM.questions[unmet]
        assert (one.met, other.met) == (True, False)
        assert (one.candidate.turns, one.criterion) == (other.candidate.turns, other.criterion)
        assert one.candidate.response != other.candidate.response


def test_it_has_empty_responses_and_good_ones_that_are_shorter() -> None:
    pairs = pairs_of(EXAM.for_mode("likert"))
    lengths = [[len(EXAM.questions[place].candidate.response) for place in pair] for pair in _places(pairs)]
    shorter = sum(good < poor for good, poor in lengths)
    assert (len(lengths), shorter, sum(poor == 0 for _, poor in lengths)) == (20, 11, 5)
    assert sum(one.on_empty for one in EXAM.questions) == 5
    assert sum(one.on_empty for one in EXAM.for_mode("reasoned")) == 3


def _places(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    asked = EXAM.for_mode("likert")
    return [(EXAM.questions.index(asked[met]), EXAM.questions.index(asked[unmet])) for met, unmet in pairs]


def test_each_mode_gets_what_it_can_answer() -> None:
    assert EXAM.for_mode("verdict") == EXAM.for_mode("implicit") == EXAM.questions
    assert {one.criterion.id for one in EXAM.for_mode("likert")} == {WANTED}
    written = EXAM.for_mode("reasoned")
    assert len(pairs_of(written)) == 24 and Counter(one.met for one in written) == {True: 24, False: 24}
    one = EXAM.questions[0]
    assert one.query("verdict").criterion is one.criterion
    whole = one.query("implicit")
    assert whole.criterion is None
    assert rubric_items(whole.candidate.criteria) == (("+1 points", one.criterion.text),)
    assert one.query("likert").candidate.criteria == ()


def _right(seed: int, value: object) -> int:
    """Pairs that a judge gets right whose answer depends on `value` of a question alone."""
    rng = random.Random(seed)
    liking: dict[object, float] = {}
    answers = [liking.setdefault(value(one), rng.random()) for one in EXAM.questions]  # type: ignore[operator]
    return grade("verdict", EXAM.questions, answers).right


def test_1_000_judges_that_read_one_side_alone_get_no_more_than_half() -> None:
    def response(one: Question) -> str:
        return one.candidate.response + one.candidate.turns[0].content

    def criterion(one: Question) -> str:
        return one.criterion.text

    assert {_right(seed, response) for seed in range(500)} == {20}
    assert {_right(seed, criterion) for seed in range(500)} == {0}


def test_length_alone_proves_nothing() -> None:
    for sign in (1, -1):
        answers = [sign * float(len(one.candidate.response)) for one in EXAM.questions]
        assert grade("verdict", EXAM.questions, answers).right == 20


def test_words_in_common_prove_nothing() -> None:
    def common(one: Question) -> float:
        words = set(one.criterion.text.lower().strip(".").split())
        return len(words & set(one.candidate.response.lower().replace(".", "").split())) / len(words)

    found = grade("verdict", EXAM.questions, [common(one) for one in EXAM.questions])
    assert found.trust == "unproven" and found.right < 20


def test_1_000_judges_that_go_by_the_order_of_options_get_half() -> None:
    """One probability for the option that stands first, whatever is asked; each question is in one pair."""
    questions = EXAM.for_mode("levels")
    pairs = pairs_of(questions)
    assert len(questions) == 2 * len(pairs) == 80
    assert len({place for pair in pairs for place in pair}) == 80
    for met, unmet in pairs:
        one, other = questions[met].criterion.options, questions[unmet].criterion.options
        assert one == other[::-1]
    rng = random.Random(0)
    for _ in range(1_000):
        first = rng.uniform(0.01, 0.99)
        answers = [first if one.criterion.options[0].value == 1 else 1 - first for one in questions]
        found = grade("levels", questions, answers)
        assert (found.right, found.trust) == (20 if first != 0.5 else 0, "unproven")

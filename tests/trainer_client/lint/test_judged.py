"""A judge is asked in both orders, and believed where it says the same in both."""

from trainer_client import wire
from trainer_client.lint.judged import MOST_PAIRS, Pair, judged, pairs, questions

RUBRIC = wire.Rubric.model_validate(
    [
        {"text": "Essential Criteria: Names the tea.", "points": 5},
        {"text": "Says which tea it is.", "points": 3},
        {"text": "Says which tea it is not.", "points": -2},
        {"text": "Has a rule.", "points": 1, "verifier": {"rule": "contains", "text": "tea"}},
    ]
)
Answer = dict[str, bool | None]
SAME: Answer = {"0": True, "1": False}
OPPOSED: Answer = {"0": False, "1": True}
NEITHER: Answer = {"0": False, "1": False}


def test_pairs_are_of_what_a_judge_reads_and_the_likeliest_come_first() -> None:
    assert pairs(RUBRIC) == [Pair(1, 2), Pair(0, 1), Pair(0, 2)]
    assert pairs(RUBRIC, known={1}) == [Pair(0, 2)]
    many = wire.Rubric.model_validate([{"text": f"Names city {n}.", "points": 1} for n in range(40)])
    assert len(pairs(many)) == MOST_PAIRS
    long = wire.Rubric.model_validate([{"text": "x" * 700, "points": 1}, {"text": "Names it.", "points": 1}])
    assert pairs(long) == []


def test_each_order_is_asked_without_categories() -> None:
    first, second = questions(RUBRIC, Pair(0, 1))
    assert (first.response, second.response) == ("Names the tea.", "Says which tea it is.")
    assert first.rubric is not None and "Says which tea it is." in first.rubric.criteria[0].text


def test_what_the_answers_say() -> None:
    found = judged(RUBRIC, Pair(0, 1), [SAME, SAME])
    assert found is not None and (found.place, found.code) == (1, "judged_duplicate") and "index 0" in found.why
    against = judged(RUBRIC, Pair(0, 2), [SAME, SAME])
    assert against is not None and (against.place, against.code) == (2, "judged_contradiction")
    excluded = judged(RUBRIC, Pair(0, 1), [OPPOSED, OPPOSED])
    assert excluded is not None and excluded.code == "judged_contradiction"
    assert judged(RUBRIC, Pair(0, 2), [OPPOSED, OPPOSED]) is None, "a fault and a virtue may well exclude each other"
    unsure: list[list[Answer]] = [
        [SAME, NEITHER],
        [SAME, OPPOSED],
        [NEITHER, NEITHER],
        [SAME, {}],
        [{"0": None, "1": None}, SAME],
    ]
    for answers in unsure:
        assert judged(RUBRIC, Pair(0, 1), answers) is None

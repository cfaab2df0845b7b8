"""HealthBench's score of rubrics with levels: by the share of the points that a level earns, and by tag."""

from trainer_client import wire
from trainer_client.evaluation.judged import Judged
from trainer_client.evaluation.kinds.rubrics import on_healthbench

LEVELS = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]
RUBRIC = [
    {"text": "How much?", "points": 4, "levels": LEVELS, "tags": {"axis": "accuracy"}},
    {"text": "Is kind.", "points": 6, "tags": {"axis": "tone"}},
]


def test_a_level_earns_its_share_and_none_where_the_log_does_not_say_which_one() -> None:
    item = wire.Item.model_validate({"prompt": "?", "response": "x", "rubric": RUBRIC})
    judged = Judged(0.2, (True, False), (), ({"id": "0", "met": True, "level": 1}, {"id": "1", "met": False}))
    found = on_healthbench("policy", {"a": item}, [("a", 0)], [judged], "simple_evals")
    means = {one.name: one.values for one in found.measures}
    assert means == {"overall_score": {"a": [0.2]}, "axis:accuracy": {"a": [0.5]}, "axis:tone": {"a": [0.0]}}
    old = on_healthbench("policy", {"a": item}, [("a", 0)], [Judged(0.2, (True, False))], "simple_evals")
    assert old.missing == 1
    assert {one.name: one.values for one in old.measures} == {"axis:tone": {"a": [0.0]}}

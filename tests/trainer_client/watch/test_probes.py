"""What is asked about answers without content: each criterion once, and none that such an answer may meet."""

from dataclasses import replace

from tests.trainer_client.watch import made
from trainer_client import wire
from trainer_client.audit.askings import Judged
from trainer_client.rollouts import Rollout
from trainer_client.watch.probes import ANSWERS, Probes, findings


def _rollout(*criteria: dict[str, object]) -> Rollout:
    one = made.rollout(0, "g", "answer", {"a": True}, {"a": 1.0})
    return replace(one, rubric=wire.Rubric.model_validate({"criteria": list(criteria)}))


KIND: dict[str, object] = {"id": "kind", "text": "Is kind.", "points": 2}


def test_each_criterion_is_asked_about_once_with_both_answers() -> None:
    probes = Probes()
    (first,) = probes.of([_rollout(KIND), _rollout(KIND)])
    assert {name: one.item.response for name, one in first.items.items()} == ANSWERS and set(first.criteria) == {"kind"}
    (second,) = probes.of([_rollout(KIND, {"text": "Names tea.", "points": 1})])
    assert set(second.criteria) == {"1"} and probes.of([_rollout(KIND)]) == []


def test_what_an_answer_without_content_may_meet_is_not_asked_about() -> None:
    fault = {"text": "Is rude.", "points": -2}
    absent = {"text": "Does not mention tea.", "points": 2}
    rule = {"text": "Has tea.", "points": 2, "verifier": {"rule": "contains", "text": "tea"}}
    monitor = {"text": "Is long.", "points": 0}
    assert Probes().of([_rollout(fault, absent, rule, monitor)]) == []
    assert Probes().of([replace(_rollout(KIND), rubric=None)]) == []


def test_what_the_judge_did_not_decide_is_no_finding() -> None:
    probes = Probes().of([_rollout(KIND, {"id": "tea", "text": "Names tea.", "points": 1})])
    empty, other = (probes[0].items[name].key for name in ("empty", "off_topic"))
    assert findings(probes, {}) == []
    said = {empty: {"kind": Judged(0.9, True), "tea": Judged(0.1, False)}, other: {"tea": Judged(0.7, True)}}
    found = findings(probes, said)
    assert [(one.answer, one.criterion.id, one.p) for one in found] == [
        ("empty", "kind", 0.9),
        ("off_topic", "tea", 0.7),
    ]

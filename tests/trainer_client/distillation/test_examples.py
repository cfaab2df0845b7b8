"""Examples have targets, stay with their prompts, and weigh both classes alike."""

import pytest

from tests.trainer_client.distillation.made import example
from trainer_client import wire
from trainer_client.distillation.examples import class_weights, examples, label_targets, split
from trainer_client.distillation.rendering import Rendered, RenderedItem
from trainer_client.labels import LabelledItem, Labels


def _labels() -> Labels:
    rubric = [{"id": id, "text": id, "points": 1} for id in "abcd"]
    item = wire.Item.model_validate({"prompt": "p", "response": "r", "rubric": rubric})
    return Labels((LabelledItem(item, {"a": True, "b": False, "c": None, "d": True}, {}, "g"),), (), "digest")


def _rendered(*own: tuple[int, ...] | None) -> Rendered:
    return Rendered("rubricd", "question", "digest", ("Yes", "No"), (1, 2), (RenderedItem((5,), own),))


def test_a_criterion_without_a_target_or_a_prompt_is_no_example() -> None:
    rendered = Rendered(
        "rubricd", "question", "p", ("Yes", "No"), (1, 2), (RenderedItem((5,), ((6,), (7,), (8,), None)),)
    )
    found = examples(_labels(), rendered, label_targets(_labels()), 10)
    assert [(one.criterion, one.target, one.label, one.own) for one in found.examples] == [
        ("a", 1.0, True, (6,)),
        ("b", 0.0, False, (7,)),
    ]
    assert found.left_out == {"without a verdict to learn": 1, "decided by a rule": 1}


def test_a_teacher_gives_targets_where_nobody_labelled_and_labels_stay_beside_them() -> None:
    rendered = Rendered(
        "rubricd", "question", "p", ("Yes", "No"), (1, 2), (RenderedItem((5,), ((6,), (7,), (8,), (9,) * 10)),)
    )
    found = examples(_labels(), rendered, {(0, "a"): 0.25, (0, "c"): 0.75, (0, "d"): 0.5}, 10)
    assert [(one.criterion, one.target, one.label) for one in found.examples] == [("a", 0.25, True), ("c", 0.75, None)]
    assert found.left_out == {"without a verdict to learn": 1, "too long": 1}


def test_prompts_are_learned_or_held_out_whole() -> None:
    made = [example(item, [1], [2], group=str(item % 20)) for item in range(200)]
    learned, held_out = split(made, 0.2, seed=0)
    assert {one.group for one in learned} & {one.group for one in held_out} == set()
    assert (len(learned), len(held_out)) == (160, 40)
    assert split(made, 0.2, seed=0) == (learned, held_out) != split(made, 0.2, seed=1)


def test_both_classes_weigh_the_same_and_the_mean_weight_is_one() -> None:
    made = [example(0, [1], [2], target=target) for target in (1.0, 0.0, 0.0, 0.0, 0.5)]
    met, unmet = class_weights(made)
    total_met = sum(one.target * met for one in made)
    total_unmet = sum((1 - one.target) * unmet for one in made)
    assert total_met == pytest.approx(total_unmet) == pytest.approx(len(made) / 2)
    assert class_weights(made[:1]) == (1.0, 1.0)

"""Law 7: any change of a judge is another judge."""

from dataclasses import replace

import pytest

from service.engine.base import EngineIdentity
from service.modes.fingerprint import name_judge
from service.prompting.template import Skeleton

IDENTITY = EngineIdentity(model="m", revision="r", engine="local", facts={"weights": "1", "dtype": "float32"})
SKELETON = Skeleton(name="rubricd", head="<s>", tail="</s>")


def fingerprint(
    identity: EngineIdentity = IDENTITY,
    skeleton: Skeleton = SKELETON,
    mode: str = "verdict",
    labels: tuple[str, ...] = ("Yes", "No"),
    label_ids: tuple[int, ...] = (1, 2),
    mass_floor: float = 0.5,
) -> str:
    judge = name_judge(identity, skeleton, mode=mode, labels=labels, label_ids=label_ids, mass_floor=mass_floor)
    return judge.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        fingerprint(replace(IDENTITY, engine="remote")),
        fingerprint(replace(IDENTITY, facts={"weights": "2", "dtype": "float32"})),
        fingerprint(replace(IDENTITY, facts={"weights": "1", "dtype": "bfloat16"})),
        fingerprint(replace(IDENTITY, facts={"weights": "1dtype", "": "float32"})),
        fingerprint(skeleton=replace(SKELETON, head="<s> ")),
        fingerprint(skeleton=replace(SKELETON, tail="")),
        fingerprint(skeleton=replace(SKELETON, criterion="\n# Criterion\n")),
        fingerprint(skeleton=replace(SKELETON, name="healthbench")),
        fingerprint(mode="reasoned"),
        fingerprint(labels=("yes", "No")),
        fingerprint(labels=("No", "Yes"), label_ids=(2, 1)),
        fingerprint(label_ids=(1, 3)),
        fingerprint(mass_floor=0.4),
    ],
)
def test_a_change_of_any_part_is_another_judge(other: str) -> None:
    assert other != fingerprint()


def test_the_same_weights_under_another_name_are_the_same_judge() -> None:
    assert fingerprint(replace(IDENTITY, model="elsewhere", revision="main")) == fingerprint()


def test_the_order_of_facts_does_not_matter() -> None:
    assert fingerprint(replace(IDENTITY, facts={"dtype": "float32", "weights": "1"})) == fingerprint()

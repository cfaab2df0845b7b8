"""The alarm of reward hacking fires on a planted shortcut, and not on a policy that earns as much by learning."""

from dataclasses import dataclass

import numpy as np
import pytest

from miniature.world import oracle, tasks
from miniature.world.clinic import rubric
from tests.trainer_client.watch import planted
from trainer_client.watch.alarms import Alarm, Declared, alarms
from trainer_client.watch.observed import Observed
from trainer_client.watch.picks import Picker, sample


@dataclass(frozen=True)
class Watched:
    alarms: list[Alarm]
    reward: list[float]
    truth: list[float]


def _watched(hacks: bool, seed: int) -> Watched:
    observed, picker, picks = Observed(), Picker(0.5), []
    reward, truth = [], []
    for rollouts in planted.rollouts(hacks, seed):
        observed.add(rollouts)
        picks += list(picker.picked(rollouts))
        reward.append(float(np.mean([one.reward for one in rollouts if one.reward is not None])))
        truth.append(float(np.mean([planted.truth(one) for one in rollouts])))
    found = alarms(observed.table(), sample(picks, planted.reference), Declared())
    return Watched(found, reward, truth)


@pytest.mark.parametrize("seed", range(20))
def test_the_alarm_fires_on_a_planted_shortcut_and_none_on_honest_learning(seed: int) -> None:
    """In 20 of 20 seeds each. Both policies earn the same from the first step to the last, and one of them learns."""
    hacking, honest = _watched(True, seed), _watched(False, seed)
    for part in (slice(10), slice(-10, None)):
        assert abs(np.mean(hacking.reward[part]) - np.mean(honest.reward[part])) < 0.08
    assert np.mean(hacking.truth[-10:]) < 0.4 < 0.7 < np.mean(honest.truth[-10:])

    (alarm,) = (one for one in hacking.alarms if one.kind == "shortcut")
    assert 5 <= alarm.step - planted.ONSET <= 25, "its phrase is in half of the answers 10 steps after its onset"
    assert 0 <= alarm.began - planted.ONSET <= 20 and alarm.action == "dropout"
    assert honest.alarms == [], "of no kind"


@pytest.mark.parametrize("hacks", [False, True])
def test_the_truth_is_the_oracles(hacks: bool) -> None:
    steps = planted.rollouts(hacks, 0)
    for one in [*next(steps), *[one for step in steps for one in step][-100:]]:
        criteria = rubric(tasks.topic_of(one.id))
        assert planted.truths(one.answer, criteria) == {c.id: oracle.met(c, one.answer) for c in criteria}

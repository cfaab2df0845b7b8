"""What other judges say of the same rollouts, against calculations by hand."""

from math import isnan

import numpy as np
import pytest

from tests.trainer_client.watch import made
from trainer_client.rollouts import Rollout
from trainer_client.watch import shadow
from trainer_client.watch.picks import Picker, is_picked, sample

POINTS = {"a": 3.0, "b": 1.0, "bad": -2.0}


def _one(step: int, own: str, *others: str) -> Rollout:
    """Each judge's verdicts as a text of what it calls met, such as `a b`; `?` after a name stands for no verdict."""

    def said(text: str) -> dict[str, bool | None]:
        words = text.split()
        return {id: None if f"{id}?" in words else id in words for id in POINTS}

    names = {str(n): said(text) for n, text in enumerate(others)}
    return made.rollout(step, "g", "answer", said(own), POINTS, 0.0, names)


def _sample(*rollouts: Rollout) -> shadow.Sample:
    def opinions(one: Rollout) -> list[dict[str, bool]]:
        return [{v.id: v.met for v in said if v.met is not None} for said in one.others.values()]

    return sample(list(Picker(1.0).picked(rollouts)), opinions)


def test_the_gap_and_the_overclaim_by_hand() -> None:
    found = _sample(
        _one(0, "a b", "a b"),  # all agree: credited are a, b and that it is not bad
        _one(1, "a b", "b bad"),  # over-credited: a (3) and `bad` (2) of 6 points; credited were all 6
        _one(2, "bad", "a b"),  # credited nothing, the other one all
        _one(
            3, "a?", "a b bad"
        ),  # of b and bad: credited bad (2), which the other rejects, and not b, which it credits
    )
    assert shadow.gaps(found) == pytest.approx([0, 5 / 6, -1, (2 - 1) / 3])
    overclaim = shadow.overclaim(found)
    assert overclaim[[0, 1, 3]] == pytest.approx([0, 5 / 6, 1]) and isnan(overclaim[2])


def test_a_panel_rejects_together_and_its_gap_is_the_mean() -> None:
    found = _sample(_one(0, "a", "", "a"), _one(1, "a", "", ""))
    assert shadow.gaps(found) == pytest.approx([3 / 2 / 6, 3 / 6])
    assert shadow.overclaim(found) == pytest.approx([0, 3 / 5])


def test_the_exploitation_rate_by_hand() -> None:
    """Step 1 credits a and b newly, of which others reject a (3 of 4 points). Step 2 credits nothing newly; step 3
    credits that it is not bad (2 points), which the others accept."""
    found = shadow.exploitation(
        _sample(_one(0, "bad", "bad"), _one(1, "a b bad", "b bad"), _one(2, "a b bad", "bad"), _one(3, "a b", "a b"))
    )
    assert list(found.step) == [1, 2, 3] and found.newly == pytest.approx([4, 0, 2])
    assert found.rate[[0, 2]] == pytest.approx([3 / 4, 0]) and isnan(found.rate[1])


def test_the_exploitation_rate_against_the_papers_formula() -> None:
    """200 random panels of three over four evaluations, 0 different from N and J summed one by one."""
    random = np.random.default_rng(0)
    for _ in range(200):
        text = [[" ".join(id for id in POINTS if random.random() < 0.5) for _ in range(4)] for _ in range(4)]
        found = shadow.exploitation(_sample(*(_one(step, *said) for step, said in enumerate(text))))
        for step in range(1, 4):
            credit = [{id: (id in said[0].split()) != (POINTS[id] < 0) for id in POINTS} for said in text]
            rejected = {id: all((id in said.split()) == (POINTS[id] < 0) for said in text[step][1:]) for id in POINTS}
            newly = {id: credit[step][id] and not credit[step - 1][id] for id in POINTS}
            below = sum(abs(POINTS[id]) for id in POINTS if newly[id])
            above = sum(abs(POINTS[id]) for id in POINTS if newly[id] and rejected[id])
            assert found.newly[step - 1] == below and found.rejected[step - 1] == above


def test_overclaims_by_criterion() -> None:
    found = _sample(_one(0, "a b", "b"), _one(1, "a b", "a b"), _one(2, "b bad", "b bad"))
    told = shadow.overclaims(found)
    by = {
        named.id: (int(count), share)
        for named, count, share in zip(found.criteria, told.credited, told.share, strict=True)
    }
    assert by == {"a": (2, 0.5), "b": (3, 0.0), "bad": (2, 0.0)}


def test_picks_are_the_same_at_every_step_and_about_the_share() -> None:
    picked = [is_picked(f"row-{n}/{member}", 0.25) for n in range(2000) for member in range(4)]
    assert 0.23 < np.mean(picked) < 0.27
    assert all(is_picked(f"row-{n}/0", 1.0) for n in range(100)) and not any(
        is_picked(f"{n}", 1e-9) for n in range(100)
    )
    steps = [[one.slot for one in Picker(0.5).picked([_one(step, "a")] * 6)] for step in range(3)]
    assert steps[0] == steps[1] == steps[2] and 0 < len(steps[0]) < 6


def test_a_rollout_that_another_judge_has_not_judged_counts_in_nothing() -> None:
    found = sample(list(Picker(1.0).picked([_one(0, "a", "a")])), lambda one: [])
    assert found.step.shape == found.rollout.shape == (0,) and shadow.exploitation(found).rate.shape == (0,)
    assert shadow.onset(np.empty(0), np.empty(0, np.intp), margin=0.05, chance=0.01).limit is None


def test_a_gap_that_is_large_from_the_start_is_no_onset_and_one_that_grows_is() -> None:
    random, steps = np.random.default_rng(1), np.repeat(np.arange(100), 4)
    large = random.beta(5, 5, 400)
    same = shadow.onset(large, steps, margin=0.05, chance=0.01)
    assert same.baseline == pytest.approx(0.5, abs=0.05) and same.evidence is not None
    assert same.evidence.onset(0.005) is None
    grows = np.where(steps < 60, random.beta(1, 9, 400), large)
    grown = shadow.onset(grows, steps, margin=0.05, chance=0.01)
    assert grown.evidence is not None and 60 <= (grown.evidence.onset(0.005) or 0) <= 70
    assert shadow.onset(np.ones(400), steps, margin=0.05, chance=0.01).limit is None

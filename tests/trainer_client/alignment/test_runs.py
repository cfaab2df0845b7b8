"""Answers from before and after a training are paired by their prompt, and by nothing else."""

from typing import Any

import pytest

from trainer_client.alignment.runs import LENGTHS, ends_of, paired
from trainer_client.errors import DataError
from trainer_client.rollouts.logged import Rollout


def rollout(step: int | None, prompt: str, response: str, score: float | None = 0.5, **more: Any) -> Rollout:
    facts: dict[str, Any] = {
        **dict.fromkeys(("rubric", "reference", "advantage", "shown", "judge", "attempts")),
        "place": "log",
        "step": step,
        "group": f"{step}/{prompt}",
        "id": "x",
        "prompt": prompt,
        "response": response,
        "criteria": (),
        "status": "ok",
        "score": score,
        "reward": None,
        **more,
    }
    return Rollout(**facts)


def test_the_ends_of_a_run_do_not_overlap() -> None:
    run = [rollout(n, "p", f"answer {n}") for n in range(5)]
    first, last, told = ends_of(run, 10)
    assert [one.step for one in first] == [0, 1]
    assert [one.step for one in last] == [3, 4]
    assert told == "steps 0 to 1 against 3 to 4"
    with pytest.raises(DataError, match="one step alone"):
        ends_of(run[:1], 10)
    with pytest.raises(DataError, match="no steps; give two logs"):
        ends_of([rollout(None, "p", "a")], 10)


def test_each_answer_is_in_at_most_one_pair_and_its_prompt_is_the_same() -> None:
    before = [rollout(0, f"p{n % 3}", f"old {n}", n / 10) for n in range(12)]
    after = [rollout(9, f"p{n % 4}", f"new {n} and more", None if n == 0 else 0.9) for n in range(12)]
    found = paired(before, after, "told", prompts=50, each=2)
    assert len(found.pairs) == 6
    assert all(pair.rubric is None and pair.reference is None for pair in found.pairs)
    assert len({pair.chosen for pair in found.pairs} | {pair.rejected for pair in found.pairs}) == 12
    for pair in found.pairs:
        assert pair.chosen.startswith("new") and pair.rejected.startswith("old")
        old, new = int(pair.rejected.split()[1]), int(pair.chosen.split()[1])
        assert pair.prompt == f"p{old % 3}" == f"p{new % 4}"
    assert {pair.kind for pair in found.pairs} == {LENGTHS[0]}
    assert found.rewards[0] is None, "a reward that was not logged is no number"
    assert found.rewards[1] == (0.3, 0.9)
    assert len(paired(before, after, "told", prompts=2, each=1).pairs) == 2


def test_without_a_common_prompt_it_says_what_to_do() -> None:
    with pytest.raises(DataError, match="take more --steps, or give two logs"):
        paired([rollout(0, "p", "a")], [rollout(1, "q", "b")], "", prompts=5, each=1)


def test_lengths_within_a_tenth_are_alike() -> None:
    for before, after, kind in ((100, 109, 2), (100, 130, 0), (100, 80, 1), (0, 0, 2)):
        found = paired([rollout(0, "p", "x" * before)], [rollout(1, "p", "y" * after)], "", prompts=1, each=1)
        assert found.pairs[0].kind == LENGTHS[kind]

"""The comparison of compositions: its figures, and prompts that are drawn again."""

import numpy as np

from loadtests.compositions import Asked, drawn_again, figures_of
from tests.trainer_client.cascade.shared import two_judges

_NAMES = ("prompt_tokens", "cached_tokens")


def _asked(right: float, reached: float, read: int, cached: int) -> Asked:
    usage = dict(zip(_NAMES, (read, cached), strict=True))
    return Asked(np.full(20, right), np.full(20, 10.0), reached, usage)


def test_the_strong_judges_part_is_what_the_cascade_took_beyond_the_weak_one() -> None:
    asked = {
        "strong": _asked(9, 1.0, 1000, 600),
        "weak": _asked(8, 0.0, 1000, 600),
        "cascade": _asked(9, 0.4, 1400, 700),
    }
    found = figures_of(asked["cascade"], asked)
    # All cases are alike, so that each counts once: one in 20 + 1.96^2 may be another.
    assert found["agrees"] == [0.9, 0.755, 0.9161] and found["less_strong"] == [0.0, -0.1611, 0.1611]
    assert (found["reached_strong"], found["strong_tokens_read"]) == (0.4, 0.4)
    assert found["strong_tokens_computed"] == 0.75  # 300 of 400: of 1,400 - 1,000 tokens 100 were shared
    weak = figures_of(asked["weak"], asked)
    assert (weak["agrees"][0], weak["less_strong"][0], set(weak)) == (0.8, -0.1, {"agrees", "less_strong"})


def test_prompts_that_are_drawn_again_stay_whole_and_are_prompts_of_their_own() -> None:
    rows = two_judges(1, 50, criteria=3)
    again = drawn_again(rows, np.random.default_rng(0))
    assert (len(again), again.prompts) == (150, 50)
    assert np.bincount(again.groups).tolist() == [3] * 50
    first = {tuple(rows.p[0, rows.groups == n]) for n in range(50)}
    assert {tuple(again.p[0, again.groups == n]) for n in range(50)} < first

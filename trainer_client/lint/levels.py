"""Looks at the levels and choices of graded criteria: whether they can be told apart, and whether one earns nothing.
Pure."""

import itertools
from collections.abc import Sequence

from trainer_client.lint.codes import Entry, Findings, Found
from trainer_client.lint.repetition import about_the_same, said


def options(criteria: Sequence[Entry]) -> Findings:
    for one in criteria:
        if not one.options:
            continue
        if one.counted and min(option.value for option in one.options) > 0:
            which = "a response on the lowest level still earns points" if one.wanted else "no response is free of it"
            why = f"no level or choice is worth 0, so {which}"
            yield Found(
                one.place, "levels_without_zero", why, "add one that is worth 0, or take the lowest off the others"
            )
        texts = [said(option.text) for option in one.options]
        for (a, first), (b, second) in itertools.combinations(enumerate(texts), 2):
            if first.same == second.same or (first.negated == second.negated and about_the_same(first, second)):
                why = f"the levels or choices at index {a} and {b} say nearly the same, so a judge is torn between them"
                yield Found(one.place, "levels_alike", why, "say in each what the other does not have")
                break

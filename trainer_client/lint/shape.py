"""Looks at a rubric's numbers: how many criteria, which points, which categories and tags. Pure."""

import math
from collections.abc import Sequence
from statistics import median

from trainer_client import wire
from trainer_client.lint.codes import Entry, Findings, Found

FEWEST, MOST = 2, 33
"""HealthBench's physicians wrote 2 to 33 criteria for a prompt."""
MAX_POINTS = 10
"""HealthBench's points are -10 to 10, those of Rubrics as Rewards 1 to 5, and -1 or -2 for pitfalls."""
_RAR_MOST, _RAR_PITFALL = 5, 2
_ORDER = ("essential", "important", "optional")
_BY_POINTS = {
    "healthbench",
    "healthbench_clipped",
    "weighted_abs",
    "gated",
    "conjunctive",
    "factual_gate",
    "veto",
    "caps",
    "saturation",
}


def nothing_counted(criteria: Sequence[Entry]) -> Findings:
    if not any(one.counted for one in criteria):
        why = "every criterion has 0 points, so there will be no score"
        yield Found(None, "nothing_counted", why, "give some of them points")


def only_faults(criteria: Sequence[Entry], aggregation: str) -> Findings:
    if {one.wanted for one in criteria if one.counted} == {False}:
        best = "0" if aggregation == "healthbench" else "1"
        why = f"there are only faults, so a response that says nothing gets the best score, {best}"
        yield Found(None, "no_positive_points", why, "add a criterion with positive points")


def item_count(criteria: Sequence[Entry]) -> Findings:
    """A single rule is a verifiable reward, which needs no second criterion."""
    number = len(criteria)
    if number < FEWEST and criteria[0].rule is None:
        why = "one criterion for the whole response, so rewards can only be all or nothing"
        yield Found(None, "item_count", why, "write what else a good response has, as 7 to 20 criteria")
    elif number > MOST:
        why = f"there are {number} criteria, so each hardly shows in the score, and each costs a judgement"
        yield Found(None, "item_count", why, f"keep those that tell responses apart, {MOST} at most")


def categories(criteria: Sequence[Entry], aggregation: str) -> Findings:
    counted = [one for one in criteria if one.counted]
    named = [one for one in counted if one.category is not None]
    if aggregation == "rar_explicit" and counted and not named:
        yield Found(
            None,
            "no_categories",
            "`rar_explicit` weighs by category and there are none, so it weighs by |points|",
            "begin the texts with `Essential Criteria: ` and so on, or ask for `weighted_abs`, which is the same here",
        )
    elif aggregation == "rar_explicit":
        for one in counted:
            if one.category is None:
                yield Found(
                    one.place,
                    "mixed_categories",
                    "others have a category and this has none, so `rar_explicit` is refused",
                    "begin its text with `Essential Criteria: `, `Important Criteria: `, `Optional Criteria: ` or "
                    "`Pitfall Criteria: `",
                )
    if aggregation == "gated" and counted and all(one.category != "essential" for one in counted):
        yield Found(
            None,
            "no_essential",
            "`gated` lets a response through if it passes every essential criterion, and there is none",
            "begin at least one text with `Essential Criteria: `, or ask for `weighted_abs`, which is the same here",
        )


def category_order(criteria: Sequence[Entry]) -> Findings:
    """Points and categories that disagree: one aggregation weighs by the one, another by the other."""
    sizes = {name: [abs(one.worth) for one in criteria if one.counted and one.category == name] for name in _ORDER}
    for one in criteria:
        if not one.counted or one.category not in _ORDER[1:]:
            continue
        above = next(name for name in _ORDER[_ORDER.index(one.category) - 1 :: -1] if sizes[name] or name == _ORDER[0])
        if sizes[above] and abs(one.worth) >= min(sizes[above]):
            why = f"it is {one.category} and has as many points as an {above} criterion, or more"
            remedy = f"give it fewer points than every {above} criterion, or the category that its points say"
            yield Found(one.place, "category_order", why, remedy)


def tags(criteria: Sequence[Entry], aggregation: wire.Aggregation, tag: str, value: str | None) -> Findings:
    """A formula that looks at a tag, and a rubric where none has it."""
    own = [one.category if tag == "category" else one.tags.get(tag) for one in criteria if one.counted]
    if not tag or not own or any(one is not None and value in (None, one) for one in own):
        return
    other = " with that value" if value is not None and any(own) else ""
    name = wire.aggregation_name(aggregation)
    why = f"`{name}` looks at a tag that no counted criterion has{other}, so it scores like `weighted_abs`"
    yield Found(None, "no_tagged", why, "give criteria the tag, or name theirs as its option `tag`")


def weight_range(criteria: Sequence[Entry]) -> Findings:
    """Of what others have: a rubric whose points all lie in another range has a scale of its own."""
    sizes = [abs(one.worth) for one in criteria if one.counted]
    usual = bool(sizes) and median(sizes) <= MAX_POINTS
    for one in criteria:
        if not one.counted or not usual:
            continue
        size = abs(one.worth)
        most = MAX_POINTS if one.category is None else _RAR_PITFALL if one.category == "pitfall" else _RAR_MOST
        if size > most:
            scale = "Rubrics as Rewards gives such a criterion" if one.category else "HealthBench gives a criterion"
            why = f"{scale} at most {most} points, and this has more, while most of the rubric keeps to such a scale"
            yield Found(one.place, "weight_range", why, f"give it points of at most {most} in size")


def dominance(criteria: Sequence[Entry], aggregation: str) -> Findings:
    """Of three or more, since of two unequal ones the larger always outweighs the other."""
    counted = [one for one in criteria if one.counted]
    if len(counted) < 3 or aggregation not in _BY_POINTS:
        return
    # Divided first, so that the sum of points near the largest float is a number.
    half = math.fsum(abs(one.worth) / (2 * len(criteria)) for one in counted)
    for one in counted:
        if abs(one.worth) / len(criteria) > half:
            why = "its |points| outweigh all others together, so these hardly show in the score"
            remedy = "give it fewer points, or make it the condition for the rest with `gated`"
            yield Found(one.place, "dominant_weight", why, remedy)

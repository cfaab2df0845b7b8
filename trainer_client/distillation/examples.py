"""Makes examples to learn from: a prompt with the probability that the judge should give, weighted and split. Pure.

Guarantees: a criterion without a target is no example. Prompts of one group are all learned from or all held out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from trainer_client.distillation.rendering import Rendered
from trainer_client.labels import Labels

Targets = Mapping[tuple[int, str], float]
"""P(met) that the judge should give, by the item's index and the criterion's id."""


@dataclass(frozen=True, slots=True)
class Example:
    """One criterion of one response. `target` is the P(met) to learn, 0 or 1 where it is a label. `label` is the word
    of people or rules, where there is one."""

    item: int
    criterion: str
    shared: tuple[int, ...]
    own: tuple[int, ...]
    target: float
    label: bool | None
    group: str

    @property
    def tokens(self) -> int:
        return len(self.shared) + len(self.own)


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples, and how many criteria are none, by reason."""

    examples: tuple[Example, ...]
    left_out: Mapping[str, int]


def label_targets(labels: Labels) -> Targets:
    """The labels as probabilities."""
    return {
        (index, id): float(met)
        for index, item in enumerate(labels.items)
        for id, met in item.met.items()
        if met is not None
    }


def examples(labels: Labels, rendered: Rendered, targets: Targets, max_tokens: int) -> Examples:
    """An example for each criterion with a target whose prompt has at most `max_tokens` tokens."""
    found: list[Example] = []
    left_out: Counter[str] = Counter()
    for index, (item, prompts) in enumerate(zip(labels.items, rendered.items, strict=True)):
        for criterion, own in zip(item.criteria, prompts.own, strict=True):
            id = str(criterion.id)
            target = targets.get((index, id))
            if own is None:
                left_out["decided by a rule"] += 1
            elif target is None:
                left_out["without a verdict to learn"] += 1
            elif len(prompts.shared) + len(own) > max_tokens:
                left_out["too long"] += 1
            else:
                found.append(Example(index, id, prompts.shared, own, target, item.met[id], item.group))
    return Examples(tuple(found), dict(left_out))


def split(found: Sequence[Example], held_out: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to learn from and held-out ones, about this share of them, by whole groups."""
    sizes = Counter(one.group for one in found)
    groups = list(sizes)
    Random(seed).shuffle(groups)
    kept: set[str] = set()
    held = 0
    for group in groups:
        if held >= held_out * len(found):
            break
        kept.add(group)
        held += sizes[group]
    return [one for one in found if one.group not in kept], [one for one in found if one.group in kept]


def class_weights(found: Sequence[Example]) -> tuple[float, float]:
    """Weights of what is met and what is not, under which both sides weigh the same and the mean weight is 1. A side
    that is missing has weight 1."""
    met = sum(one.target for one in found)
    unmet = len(found) - met
    if not met or not unmet:
        return 1.0, 1.0
    return len(found) / (2 * met), len(found) / (2 * unmet)

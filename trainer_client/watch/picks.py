"""Picks the rollouts that other judges judge, too, and joins what they said with what the run's judge said.

Guarantees: whether a rollout is picked depends on its row and its place in the group, and on nothing else, so that a
run that is watched again picks the same ones, and of a row the same places at every step. A criterion counts where the
run's judge and every other one have a verdict on it; one with levels where their values are known of all.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer_client.rollouts import Rollout
from trainer_client.watch.observed import Names
from trainer_client.watch.shadow import Sample

Verdicts = Mapping[str, float]
"""By a criterion's id: 1 where it is met and 0 where not, or the value of its level."""
Opinions = Callable[[Rollout], Sequence[Verdicts]]
"""What each of the other judges said of a rollout; nothing where one of them has not said anything."""
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Pick:
    """A rollout, and the name of its row and place, which other steps have, too."""

    rollout: Rollout
    slot: str


class Picker:
    """Picks a share of the rollouts, in the order of the log."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._members: Counter[str] = Counter()

    def picked(self, rollouts: Iterable[Rollout]) -> Iterable[Pick]:
        for one in rollouts:
            slot = f"{one.id}/{self._members[one.group]}"
            self._members[one.group] += 1
            if is_picked(slot, self._share):
                yield Pick(one, slot)


def is_picked(slot: str, share: float) -> bool:
    """Whether this row and place belong to the share."""
    number = int(hashlib.sha256(slot.encode(errors="surrogatepass")).hexdigest()[:_DIGITS], 16)
    return bool(number < share * 16**_DIGITS)


def sample(picks: Iterable[Pick], opinions: Opinions) -> Sample:
    """The picked rollouts that all judges have judged."""
    names = Names()
    rollouts: list[tuple[int, int, int]] = []
    verdicts: list[tuple[int, int, float, float, float]] = []
    groups: dict[str, int] = {}
    slots: dict[str, int] = {}
    for pick in picks:
        said = opinions(pick.rollout)
        if not said:
            continue
        one, place = pick.rollout, len(rollouts)
        rollouts.append(
            (one.step or 0, groups.setdefault(one.group, len(groups)), slots.setdefault(pick.slot, len(slots)))
        )
        for verdict in one.criteria:
            known = [by[verdict.id] for by in said if verdict.id in by]
            if verdict.share is None or len(known) < len(said) or not verdict.points:
                continue
            credit, *rest = (1 - one if verdict.points < 0 else float(one) for one in (verdict.share, *known))
            others = float(np.mean(rest))
            verdicts.append((place, names.number(one, verdict), abs(verdict.points), credit, others))
    first = np.array(rollouts, dtype=np.intp).reshape(-1, 3)
    second = np.array(verdicts, dtype=np.float64).reshape(-1, 5)
    return Sample(
        step=first[:, 0],
        group=first[:, 1],
        slot=first[:, 2],
        rollout=second[:, 0].astype(np.intp),
        criterion=second[:, 1].astype(np.intp),
        weight=second[:, 2],
        credit=second[:, 3],
        others=second[:, 4],
        criteria=names.named,
    )

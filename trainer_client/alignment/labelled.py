"""Makes pairs of labelled responses: of two answers to one prompt, the one whose labels earn more is the better one.

Guarantees: only answers under the same rubric are paired. An answer of which a counted criterion has no label is in no
pair, and is counted.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from trainer_client.agreement.rewards import reward
from trainer_client.labels import LabelledItem, Labels
from trainer_client.labels.labelled import digest
from trainer_client.preferences.building import Built
from trainer_client.preferences.pairs import PreferencePair

_SAME = 1e-9


def labelled_pairs(labels: Labels) -> Built:
    """All pairs whose label rewards differ."""
    groups: defaultdict[str, list[tuple[LabelledItem, float]]] = defaultdict(list)
    left_out: dict[str, int] = {}
    for one in labels.items:
        earned = _reward(one)
        if earned is None or not isinstance(one.item.response, str):
            reason = "a criterion without a label" if earned is None else "a trajectory"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        task = one.item.model_dump(mode="json", include={"prompt", "rubric", "reference", "documents"})
        groups[f"{one.group} {digest(task)}"].append((one, earned))
    pairs = [pair for members in groups.values() for pair in _pairs(members)]
    return Built(tuple(pairs), left_out, 0)


def _reward(one: LabelledItem) -> float | None:
    counted = [criterion for criterion in one.criteria if criterion.worth != 0]
    met = [one.met[criterion.id or ""] for criterion in counted]
    given = [float(word) for word in met if word is not None]
    return reward([criterion.worth for criterion in counted], given) if counted and len(given) == len(met) else None


def _pairs(members: list[tuple[LabelledItem, float]]) -> Iterator[PreferencePair]:
    for (one, earned), (other, theirs) in combinations(members, 2):
        if abs(earned - theirs) <= _SAME:
            continue
        better, worse = (one, other) if earned > theirs else (other, one)
        chosen, rejected = better.item.response, worse.item.response
        assert isinstance(chosen, str) and isinstance(rejected, str)
        id, item = digest([one.group, chosen, rejected])[:16], better.item
        about = (item.prompt, chosen, rejected, item.rubric, item.reference, item.documents)
        yield PreferencePair(id, one.group, "labelled", *about)

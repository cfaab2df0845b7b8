"""Proposes criteria against bad ideas, for a study of evolving rubrics: a person or a strong model would see them.

Guarantees: It reads the answers alone, never the verdicts. It proposes none that the rubric has.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from miniature.world.clinic import GENERIC_ITEMS, Criterion
from miniature.world.oracle import steps


def propose(*, criteria: Sequence[str], answers: Sequence[str], most: int, **more: Any) -> list[dict[str, str]]:
    """The bad ideas that most of a group's answers have, as criteria that cost points."""
    said = Counter(item for answer in answers for item in {step.item for step in steps(answer)} & set(GENERIC_ITEMS))
    ranked = sorted(said, key=lambda item: (-said[item], item.id))
    texts = [Criterion("item", -1.0, item=item).text for item in ranked]
    return [{"text": text, "kind": "anti_hack"} for text in texts if text not in criteria][:most]

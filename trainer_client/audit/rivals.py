"""Pairs the labelled answers of two policies to the same prompts under the same rubrics.

Guarantees: an answer is paired at most once. Both of a pair answer the same conversation under the same criteria,
whatever their ids.
"""

from collections import defaultdict, deque
from collections.abc import Mapping

from trainer_client.audit.askings import Rival
from trainer_client.errors import DataError
from trainer_client.labels import LabelledItem, Labels


def rivals(own: Labels, other: Labels) -> dict[int, Rival]:
    """For the place of an own answer the other policy's answer to the same. Raises DataError where none is paired."""
    waiting: defaultdict[str, deque[LabelledItem]] = defaultdict(deque)
    for one in other.items:
        waiting[_task(one)].append(one)
    found = {}
    for place, one in enumerate(own.items):
        left = waiting[_task(one)]
        if left:
            rival = left.popleft()
            if isinstance(rival.item.response, str):
                found[place] = Rival(rival.item.response, one.met, _by_ids_of(one, rival))
    if not found:
        raise DataError("--against: no answer there has the prompt and the rubric of one in FILE; name answers to both")
    return found


def _task(one: LabelledItem) -> str:
    criteria = [(criterion.text, criterion.worth) for criterion in one.criteria]
    return f"{one.item.model_dump_json(include={'prompt', 'reference', 'documents'})}{criteria}"


def _by_ids_of(own: LabelledItem, rival: LabelledItem) -> Mapping[str, bool | None]:
    """The rival's labels under the ids of the own criteria."""
    pairs = zip(own.criteria, rival.criteria, strict=True)
    return {str(mine.id): rival.met[str(theirs.id)] for mine, theirs in pairs}

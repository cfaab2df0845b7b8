"""Makes rollouts of the answers that a judge was asked about, so that they can be read with their verdicts.

Guarantees: a verdict is the judge's. Where it gave none, the rollout has its reason, and no score is made up.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_client import wire
from trainer_client.evaluation.judged import Judged
from trainer_client.evaluation.kinds.rubrics import Place
from trainer_client.rollouts import Rollout, verdicts
from trainer_client.rollouts.logged import Turns


def judged_rollouts(
    places: Sequence[Place], items: Sequence[wire.Item], judged: Sequence[Judged], judge: wire.Judge
) -> Iterator[Rollout]:
    """A rollout for each answer. The answers to one prompt are a group, and several of one seed are numbered."""
    seen: Counter[Place] = Counter()
    several = {place for place, count in Counter(places).items() if count > 1}
    for (id, seed), item, one in zip(places, items, judged, strict=True):
        place = f"{id}/{seed}/{seen[id, seed]}" if (id, seed) in several else f"{id}/{seed}"
        seen[id, seed] += 1
        said = item.model_dump(mode="json", include={"prompt", "response"}, exclude_none=True)
        yield Rollout(
            place=place,
            step=None,
            group=id,
            id=place,
            prompt=_said(said["prompt"]),
            response=_said(said["response"]),
            rubric=item.rubric,
            reference=item.reference,
            criteria=verdicts.joined(list(_verdicts(item, one)), item.rubric, judge.fingerprint, place),
            status="ok" if one.score is not None else " and ".join(sorted(set(one.why))) or "unknown",
            score=one.score,
            reward=None,
            advantage=None,
            shown=None,
            judge=judge.fingerprint,
            attempts=None,
            documents=tuple(item.documents or ()),
        )


def _verdicts(item: wire.Item, one: Judged) -> Iterator[Mapping[str, Any]]:
    """Those of an older log are met or not, and no more is known of them."""
    if one.said or item.rubric is None:
        yield from one.said
        return
    failed = iter(one.why)
    for id, met in zip(item.rubric.ids(), one.met, strict=False):
        yield {"id": id, "met": met} if met is not None else {"id": id, "met": None, "status": next(failed, None)}


def _said(content: str | list[Any]) -> str | Turns:
    """A text, or turns as a log has them."""
    return content if isinstance(content, str) else tuple(content)

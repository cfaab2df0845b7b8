"""Asks a judge service for the verdicts to learn from, and measures what one of its verdicts costs.

Guarantees: a criterion without a verdict has no target. Targets are of one judge.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer_client import wire
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.distillation.examples import Targets
from trainer_client.errors import DataError
from trainer_client.labels import LabelledItem, Labels, judge_labels
from trainer_client.labels.labelled import digest, labels_digest

_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one verdict: tokens that the judge computed or wrote, and seconds, of several asked at once."""

    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Taught:
    """The teacher's verdicts as targets, and what they cost."""

    judge: wire.Judge
    targets: Targets
    cost: Cost


def unlabelled(items: Iterable[wire.Item]) -> Labels:
    """Rows of which nobody said anything, in the shape of labelled ones. Raises DataError for one without a rubric."""
    found = []
    for item in items:
        if item.rubric is None:
            raise DataError("a row without a `rubric`: a teacher decides criteria")
        ids = list(item.rubric.ids())
        criteria = [one.model_copy(update={"id": id}) for id, one in zip(ids, item.rubric.criteria, strict=True)]
        rubric = item.rubric.model_copy(update={"criteria": criteria})
        group = item.group or digest(item.model_dump(mode="json")["prompt"])[:16]
        for response in [item.response] if item.responses is None else item.responses:
            one = item.model_copy(update={"response": response, "responses": None, "rubric": rubric, "group": None})
            found.append(LabelledItem(one, dict.fromkeys(ids), {}, group))
    return Labels(tuple(found), (), labels_digest(found, ()))


async def teach(
    client: JudgeClient, labels: Labels, options: ScoreOptions, store: Path, progress: Callable[[int], None]
) -> Taught:
    """The verdicts on all rows; `store` keeps them. Raises RubricdClientError."""
    judged = await judge_labels(client, labels, options=options, store=store, progress=progress)
    targets = {
        (one.item, one.criterion): one.p for one in judged.criteria if one.p is not None and one.source != "rule"
    }
    return Taught(judged.judge, targets, await _cost(client, labels, options))


async def _cost(client: JudgeClient, labels: Labels, options: ScoreOptions) -> Cost:
    """What a few rows cost past the cache."""
    items = [one.item.model_copy(update={"id": None}) for one in islice(labels.items, _SAMPLE)]
    request = wire.ScoreRequest.model_validate({"items": items, **options, "cache": "bypass"})
    started = time.perf_counter()
    usage = (await client.score_request(request)).usage
    seconds = time.perf_counter() - started
    verdicts = max(usage.judgements, 1)
    computed = usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens
    return Cost(computed / verdicts, seconds / verdicts)

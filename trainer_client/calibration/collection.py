"""Collects the judge's verdicts on labelled rows, and on the content-free queries that show its bias.

Guarantees: a content-free query is the one that the service asks when it serves the calibration; each is asked once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_client import wire
from trainer_client.calibration.candidates import CONTENT_FREE
from trainer_client.calibration.rows import PriorOf, Rows, rows_of
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.labels import Judged, LabelledItem, Labels, judge_labels
from trainer_client.labels.labelled import digest, item_digest

_MOST_CRITERIA = 64
"""Criteria of one content-free item."""


@dataclass(frozen=True, slots=True)
class Priors:
    """The content-free queries as items, and where the prior of each criterion is found among them: the index of its
    item and of its criterion; None where a rule decides."""

    labels: Labels
    places: Sequence[tuple[int, int] | None]


async def collect(
    client: JudgeClient,
    labels: Labels,
    priors: Sequence[PriorOf],
    *,
    options: ScoreOptions | None = None,
    store: Path | None = None,
    progress: Callable[[int], None] = lambda criteria: None,
) -> tuple[Judged, Rows]:
    """Raises as `judge_labels`."""
    judged = await judge_labels(client, labels, options=options, store=store, progress=progress)
    found: dict[PriorOf, list[float | None]] = {}
    for of in priors:
        asked = prior_queries(labels, of)
        answered = await judge_labels(client, asked.labels, options=options, store=store, progress=progress)
        found[of] = _values(asked, answered)
    return judged, rows_of(labels, judged, found)


def queries(labels: Labels, priors: Sequence[PriorOf]) -> int:
    """How many criteria `progress` is told of."""
    asked = [labels, *(prior_queries(labels, of).labels for of in priors)]
    return sum(len(one.criteria) for each in asked for one in each.items)


def prior_queries(labels: Labels, of: PriorOf) -> Priors:
    return _about_responses(labels) if of == "criterion" else _about_criteria(labels)


def _about_responses(labels: Labels) -> Priors:
    """A criterion that says nothing, for each response."""
    items: dict[str, tuple[int, wire.Item]] = {}
    places: list[tuple[int, int] | None] = []
    rubric = wire.Rubric(criteria=[wire.Criterion(id="prior", text=CONTENT_FREE["criterion"], points=1.0)])
    for one in labels.items:
        asked = one.item.model_copy(update={"rubric": rubric})
        index, _ = items.setdefault(item_digest(asked), (len(items), asked))
        places += [(index, 0) if _has_prior(criterion) else None for criterion in one.criteria]
    return _priors([item for _, item in items.values()], places)


def _about_criteria(labels: Labels) -> Priors:
    """Each criterion of a conversation, for an empty response."""
    items: list[wire.Item] = []
    open_items: dict[str, int] = {}
    known: dict[tuple[str, str], tuple[int, int]] = {}
    places: list[tuple[int, int] | None] = []
    asked: list[list[wire.Criterion]] = []
    for one in labels.items:
        empty = one.item.model_copy(update={"response": "", "rubric": None})
        conversation = item_digest(empty)
        for criterion in one.criteria:
            if not _has_prior(criterion):
                places.append(None)
                continue
            key = conversation, criterion.text
            if key not in known:
                index = open_items.get(conversation)
                if index is None or len(asked[index]) == _MOST_CRITERIA:
                    index = open_items[conversation] = len(items)
                    items.append(empty)
                    asked.append([])
                known[key] = index, len(asked[index])
                asked[index].append(wire.Criterion(text=criterion.text, id=str(len(asked[index])), points=1.0))
            places.append(known[key])
    rubrics = [wire.Rubric(criteria=criteria) for criteria in asked]
    whole = [item.model_copy(update={"rubric": rubric}) for item, rubric in zip(items, rubrics, strict=True)]
    return _priors(whole, places)


def _has_prior(criterion: wire.Criterion) -> bool:
    """A criterion that is met or not, by the judge: no other calibration weighs a prior."""
    return criterion.plain and criterion.verifier is None


def _priors(items: Sequence[wire.Item], places: Sequence[tuple[int, int] | None]) -> Priors:
    labelled = tuple(
        LabelledItem(item, {criterion.id or "": None for criterion in item.rubric.criteria}, {}, "prior")
        for item in items
        if item.rubric is not None
    )
    return Priors(Labels(labelled, (), digest([item_digest(item) for item in items])), places)


def _values(asked: Priors, answered: Judged) -> list[float | None]:
    starts = [0]
    for one in asked.labels.items:
        starts.append(starts[-1] + len(one.criteria))
    found: list[float | None] = []
    for place in asked.places:
        prior = None if place is None else answered.criteria[starts[place[0]] + place[1]]
        found.append(prior.p_raw if prior is not None and prior.status == "ok" else None)
    return found

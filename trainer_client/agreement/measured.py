"""Measures judges against labels: all figures of each, of the annotators, and of each two judges, as one value.

Guarantees: all judges are measured on the same labels. The value holds numbers and names, and no text of a row.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from trainer_client.agreement import criteria, rewards
from trainer_client.agreement.bootstrap import RESAMPLES, Figure
from trainer_client.agreement.comparison import comparison_figures
from trainer_client.agreement.criteria import Slice, Verdicts
from trainer_client.agreement.levels import LevelAgreement, level_agreement
from trainer_client.agreement.people import annotator_figures
from trainer_client.agreement.spent import Spent
from trainer_client.labels import Judged, Labels

Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Asked:
    """A judge that was asked: `name` tells it from the others of the run. `spent` is what that took, where known."""

    name: str
    judged: Judged
    spent: Spent | None = None


@dataclass(frozen=True, slots=True)
class MeasuredJudge:
    """`figures` are of criteria and `rewards` of responses. `statuses` counts the labelled criteria by what became of
    them; `bins` is the reliability diagram; `levels` is None where no label is a level."""

    name: str
    judge: Mapping[str, Any]
    figures: Figures
    rewards: Figures
    statuses: Mapping[str, int]
    bins: Sequence[Mapping[str, Any]]
    slices: Sequence[Slice]
    spent: Spent | None = None
    levels: LevelAgreement | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two judges have in common; `one` and `other` are their names."""

    one: str
    other: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured in one run. `labels` are facts about the labelled rows; `annotators` is empty where
    no criterion has several words."""

    labels: Mapping[str, Any]
    annotators: Figures
    judges: Sequence[MeasuredJudge]
    comparisons: Sequence[Comparison]

    def as_json(self) -> dict[str, Any]:
        return {
            "labels": dict(self.labels),
            "annotators": _as_json(self.annotators),
            "judges": [
                {
                    "name": one.name,
                    "judge": dict(one.judge),
                    "figures": _as_json(one.figures),
                    "rewards": _as_json(one.rewards),
                    **_levels_as_json(one.levels),
                    "statuses": dict(one.statuses),
                    "spent": None if one.spent is None else one.spent.as_json(),
                    "reliability": [dict(place) for place in one.bins],
                    "slices": [
                        {"kind": part.kind, "name": part.name, "figures": _as_json(part.figures)} for part in one.slices
                    ],
                }
                for one in self.judges
            ],
            "comparisons": [
                {"one": pair.one, "other": pair.other, "figures": _as_json(pair.figures)} for pair in self.comparisons
            ],
        }


def measure(labels: Labels, asked: Sequence[Asked], *, resamples: int = RESAMPLES) -> Measured:
    """All figures of judges whose verdicts on these labels are there."""
    verdicts = [criteria.verdicts_of(labels, one.judged) for one in asked]
    return Measured(
        labels=_facts(labels),
        annotators=annotator_figures(labels, resamples=resamples),
        judges=[_judge(labels, one, own, resamples) for one, own in zip(asked, verdicts, strict=True)],
        comparisons=list(_comparisons(asked, verdicts, resamples)),
    )


def _facts(labels: Labels) -> dict[str, Any]:
    return {
        "digest": labels.digest,
        "responses": len(labels.items),
        "criteria": sum(len(one.criteria) for one in labels.items),
        "labelled": labels.labelled,
        "graded": labels.graded,
        "groups": len({one.group for one in labels.items}),
        "annotators": len(labels.annotators),
    }


def _judge(labels: Labels, asked: Asked, verdicts: Verdicts, resamples: int) -> MeasuredJudge:
    judged = asked.judged
    return MeasuredJudge(
        name=asked.name,
        judge={
            **judged.judge.model_dump(mode="json"),
            "doubt": judged.judge.doubt,
            "options": dict(judged.options),
        },
        figures=criteria.criterion_figures(verdicts, resamples=resamples),
        rewards=rewards.reward_figures(rewards.rewards_of(labels, judged), resamples=resamples),
        statuses=Counter(
            "rule" if one.source == "rule" else one.status for one in judged.criteria if one.met_label is not None
        ),
        bins=criteria.reliability(verdicts, resamples=resamples),
        slices=list(criteria.slices(labels, judged, verdicts, resamples=resamples)),
        spent=asked.spent,
        levels=level_agreement(labels, judged, resamples=resamples),
    )


def _comparisons(asked: Sequence[Asked], verdicts: Sequence[Verdicts], resamples: int) -> Iterator[Comparison]:
    for (one, own), (other, others) in combinations(zip(asked, verdicts, strict=True), 2):
        yield Comparison(one.name, other.name, comparison_figures(own, others, resamples=resamples))


def _levels_as_json(levels: LevelAgreement | None) -> dict[str, Any]:
    if levels is None:
        return {}
    confusions = [{"ordered": one.ordered, "counts": [list(row) for row in one.counts]} for one in levels.confusions]
    return {"levels": {"figures": _as_json(levels.figures), "confusions": confusions}}


def _as_json(figures: Figures) -> dict[str, Any]:
    return {name: figure.as_json() for name, figure in figures.items()}

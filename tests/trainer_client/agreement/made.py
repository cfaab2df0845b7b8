"""Labels and verdicts for tests of agreement, from plain tables, without a service."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testkit.scripted_judge import judge_info
from trainer_client import wire
from trainer_client.labels import Judged, JudgedCriterion, Labels, read_labels

Json = dict[str, Any]


def labels_of(folder: Path, rows: Sequence[Json]) -> Labels:
    path = folder / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read_labels([str(path)])


def judged_by(labels: Labels, p: Sequence[float | None], *, abstains: str = "abstained") -> Judged:
    """Verdicts with these probabilities, in order; None is a criterion without a verdict."""
    info = wire.JudgeInfo.model_validate(judge_info())
    criteria = []
    given = iter(p)
    for item, one in enumerate(labels.items):
        for criterion in one.criteria:
            id, chance = criterion.id or "", next(given)
            lacks = chance is None
            criteria.append(
                JudgedCriterion(
                    item=item,
                    criterion=id,
                    text=criterion.text,
                    points=criterion.worth,
                    tags=dict(criterion.tags),
                    met_label=one.met[id],
                    status=abstains if lacks else "ok",
                    met=None if chance is None else chance >= 0.5,
                    p=chance,
                    p_raw=chance,
                    label_mass=None if lacks else 0.99,
                    source="judge",
                )
            )
    return Judged(info.judges[0], info, {}, tuple(criteria), labels.digest)

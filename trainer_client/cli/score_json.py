"""Writes what `rubricd score` did as one JSON document, for other programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trainer_client.client import ClientUsage, Failed, Outcome, Scored, reward
from trainer_client.reward_client import why_missing


def write_summary(path: Path, outcomes: Sequence[Outcome], used: ClientUsage, results: Path, took_s: float) -> None:
    """`mean_score` is null where nothing was scored; results of an earlier run are not counted."""
    scores = [score for outcome in outcomes if (score := reward(outcome)) is not None]
    judges = {outcome.judge.fingerprint: outcome.judge for outcome in outcomes if isinstance(outcome, Scored)}
    document = {
        "responses": len(outcomes),
        "scored": len(scores),
        "mean_score": sum(scores) / len(scores) if scores else None,
        "without_a_score": Counter(
            why_missing(one) for one in outcomes if isinstance(one, Scored) and reward(one) is None
        ),
        "failed": Counter(outcome.error.code for outcome in outcomes if isinstance(outcome, Failed)),
        "judges": [judge.model_dump(mode="json") for judge in judges.values()],
        "usage": asdict(used),
        "took_s": round(took_s, 3),
        "results": str(results),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

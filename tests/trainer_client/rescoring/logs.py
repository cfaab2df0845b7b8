"""Logged rollouts, made up: lines of JSON as a results file of `rubricd score` has them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer_client.rollouts import Rollout, read

Json = dict[str, Any]
RUBRIC = [
    {"text": "Is kind.", "points": 5, "tags": {"axis": "tone"}},
    {"text": "Lies.", "points": -3, "tags": {"axis": "truth"}},
    {"text": "Is short.", "points": 2},
]
LEVELS: list[Json] = [
    {"text": "nothing", "value": 0},
    {"text": "some", "value": 0.5},
    {"text": "all", "value": 1},
]


def verdict(id: int, p: float | None, **more: Any) -> Json:
    """Met at 0.5; without a P it timed out."""
    status, met = ("ok", p >= 0.5) if p is not None else ("timeout", None)
    return {"id": str(id), "status": status, "met": met, "p": p, "p_raw": p, "source": "judge", **more}


def line(group: str, response: str, ps: Sequence[float | None], **more: Any) -> Json:
    """One response to a group's prompt, with its P(met) of each criterion and the score of `healthbench`."""
    met = [p is not None and p >= 0.5 for p in ps]
    points = [5, -3, 2]
    whole = None not in ps
    score = sum(p for p, one in zip(points, met, strict=True) if one) / 7 if whole else None
    return {
        "id": response,
        "status": "ok" if whole else "partial",
        "score": score,
        "reward": score,
        "judge": "judge-0",
        "criteria": [verdict(n, p) for n, p in enumerate(ps)],
        "item": {"prompt": f"prompt {group}", "response": response, "group": group, "rubric": RUBRIC},
        **more,
    }


def written(path: Path, lines: Sequence[Json]) -> list[Rollout]:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return read(path)

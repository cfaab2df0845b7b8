"""Runs for tests: folders with tables as a training writes them, by the training's own function for their columns."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from testkit.scripted_judge import scores
from trainer_client import wire
from trainer_client.client import Scored
from trainer_client.trl.metrics import Judged, log_columns

Json = dict[str, Any]
RUBRIC: list[Json] = [
    {"id": "tea", "text": "Tells the user to drink tea.", "points": 5, "tags": {"axis": "item"}},
    {"text": "Essential Criteria: names a nurse.", "points": 3},
    {"id": "boxes", "text": "Tells the user to lift boxes.", "points": 4, "polarity": "negative"},
]


def prompt(id: str, rubric: Sequence[Json] | None = RUBRIC) -> list[Json]:
    row = {"id": id, "rubric": rubric, "reference": "Tea."}
    return [{"role": "user", "content": f"I have a {id}.", "row": json.dumps(row)}]


def judged(answer: str, rubric: Sequence[Json] = RUBRIC) -> Judged:
    """The scripted judge's word on an answer."""
    item = {"prompt": "", "response": answer, "rubric": {"criteria": list(rubric)}}
    answered = wire.ScoreResponse.model_validate(scores({"items": [item], "mode": "verdict", "layout": "rubricd"}))
    return Judged(Scored(answered.results[0], answered.judge, 1), 0.1, wire.Split(answer))


def columns(step: int, ids: Sequence[str], answers: Sequence[str], group: int = 2) -> dict[str, list[Any]]:
    """A table's columns for these rows, each with its answers in groups of so many."""
    prompts = [prompt(id) for id in ids]
    found: dict[str, list[Any]] = {
        "step": [step] * len(ids),
        "prompt": prompts,
        "completion": [[{"role": "assistant", "content": answer}] for answer in answers],
    }
    outcomes = [judged(answer) for answer in answers]
    rewards = [float(n) / 8 for n in range(len(ids))]
    drawn = {"member": [n % group for n in range(len(ids))], "revealed": ["[0, 2]" for _ in ids]}
    log: Callable[[str, list[Any]], None] = found.__setitem__
    log_columns(log, outcomes, rewards, drawn, prompts)
    return {**found, "advantage": [0.5, -0.5] * (len(ids) // 2)}


def write(folder: Path, step: int, table: dict[str, list[Any]], kind: str = "completions") -> Path:
    path = folder / "completions" / f"{kind}_{step:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path

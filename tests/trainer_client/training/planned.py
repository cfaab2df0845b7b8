"""Runs, plans, rows and checkpoints for tests of what is checked before a training."""

from pathlib import Path
from typing import Any

from tests.trainer_client.training import runs
from trainer_client.training.preflight import Plan, begin, prepare
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfig

Json = dict[str, Any]


def run_of(folder: Path, url: str, rows: list[Json] | None = None, **fields: Any) -> RunConfig:
    path = runs.run_file(folder, url, **fields)
    if rows is not None:
        runs.lines(folder / "train.jsonl", *rows)
    return run_config.read(path)


def planned(run: RunConfig, **more: Any) -> Plan:
    """A plan of a run that has begun."""
    plan = prepare(run, **{"resume": False, **more})
    begin(plan)
    return plan


def first_row(**changes: Any) -> Json:
    return {**runs.rows()[0], **changes}


def checkpoint(out: Path, step: int, state: str = "{}") -> None:
    (out / f"checkpoint-{step}").mkdir()
    (out / f"checkpoint-{step}" / "trainer_state.json").write_text(state)

"""Logs a training while it runs: a line of JSON into the run's folder, and one short line for a person.

Guarantees: a metric without a value is null in the file, not 0 and not NaN. The first process writes, and no other.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback

_WATCHED = (
    ("reward", "reward"),
    ("reward/bare", "bare"),
    ("reward/scaffolded", "scaffolded"),
    ("scaffold/revealed_share", "revealed"),
    ("judge/none_share", "not judged"),
    ("judge/latency_s", "judge s"),
    ("kl", "kl"),
    ("completions/mean_length", "tokens"),
    ("completions/clipped_ratio", "cut"),
    ("eval_reward", "held-out reward"),
)


class MetricsFile(TrainerCallback):
    """Appends {"step": …, metric: number or null} to a file at each log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        line = {"step": state.global_step, **{name: _number(value) for name, value in logs.items()}}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line, ensure_ascii=False)}\n")


class OwnIntervals(TrainerCallback):
    """Takes the steps between two logs, checkpoints and evaluations from the run config. transformers takes them from
    the checkpoint that a run continues from, and says nothing where these differ."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(args, state.max_steps)


class ProgressLine(ProgressCallback):
    """transformers' progress bar, with one short line instead of all metrics."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        line = progress_line(logs or {})
        if state.is_world_process_zero and self.training_bar is not None and line:
            self.training_bar.write(f"step {state.global_step}/{state.max_steps}  {line}")


def progress_line(logs: Mapping[str, Any]) -> str:
    """The metrics that a person watches, as far as they have a value."""
    numbers = ((name, _number(logs.get(metric))) for metric, name in _WATCHED)
    return "  ".join(f"{name} {number:.3g}" for name, number in numbers if isinstance(number, int | float))


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

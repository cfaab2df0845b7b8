"""Logs a training while it runs: a line of JSON into the run's folder, and one short line for a person.

Guarantees: a metric without a value is null in the file, not 0 and not NaN. The first process writes, and no other.
"""

import json
import math
import sys
from collections import deque
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
    ("eval_examiner/reward/bare", "by the examiner"),
)
_LARGEST_BOUNDED, _LOGS, _CLIPPED = 10.0, 20, 0.5


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
    """transformers' progress bar, with one short line instead of all metrics. It counts batches, as a run config does,
    and not the optimiser steps that a batch is used for."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._updates = updates

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        line = progress_line(logs or {})
        if state.is_world_process_zero and self.training_bar is not None and line:
            batch, batches = (-(-steps // self._updates) for steps in (state.global_step, state.max_steps))
            self.training_bar.write(f"batch {batch}/{batches}  {line}")


class UpdateWatch(TrainerCallback):
    """Warns, once each, where single tokens' KL or the clipping of gradients decides the updates."""

    def __init__(self) -> None:
        self._clipped: deque[float] = deque(maxlen=_LOGS)
        self._said: set[str] = set()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        mean, largest = logs.get("kl") or 0.0, logs.get("kl/max") or 0.0
        if mean > _LARGEST_BOUNDED:  # a bounded term has no such mean
            self._warn(
                "kl",
                f"step {state.global_step}: the KL of single tokens decides the update: it is {largest:.3g} for one, "
                f"and {mean:.3g} on average; set `kl: clamped`",
            )
        self._clipped.extend(share for name, share in logs.items() if name == "grad_norm/clipped_share")
        clipped = sum(self._clipped) / _LOGS
        if clipped > _CLIPPED:
            self._warn(
                "clipped",
                f"step {state.global_step}: trl.max_grad_norm ({args.max_grad_norm:g}) cut {clipped:.0%} of the "
                f"updates in the last {_LOGS} logs, and so decides their size; raise it, or lower trl.learning_rate",
            )

    def _warn(self, kind: str, what: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            print(f"rubricd: {what}", file=sys.stderr, flush=True)


def progress_line(logs: Mapping[str, Any]) -> str:
    """The metrics that a person watches, as far as they have a value."""
    numbers = ((name, _number(logs.get(metric))) for metric, name in _WATCHED)
    return "  ".join(f"{name} {number:.3g}" for name, number in numbers if isinstance(number, int | float))


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Watches the rewards of a training while it runs: it tells alarms, and ends the training at some of them.

Guarantees: an alarm that ends a training is followed by a checkpoint. The first process reads the tables, and all
processes end at the same step. What a resumed training has logged before counts.
"""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from trainer_client.errors import DataError
from trainer_client.rollouts import opened
from trainer_client.watch.alarms import Alarm, Declared
from trainer_client.watch.watching import Watcher

_GROWTH = 1.02
"""It looks when the log has grown by this much, so that a long training does not spend its time on it."""


class RewardWatch(TrainerCallback):
    """`stopped_by` is the alarm that ended the training, on the first process. `updates` are those of a batch."""

    def __init__(self, out: Path, stop: Collection[str], chance: float, updates: int) -> None:
        self._out, self._stop, self._updates = out, frozenset(stop), updates
        self._declared = Declared(chance)
        self._watcher: Watcher | None = None
        self._read = self._looked = 0.0
        self._said: set[tuple[str, Any]] = set()
        self.stopped_by: Alarm | None = None
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reads the tables of the steps before this one, whose own table is not yet written."""
        if state.global_step % self._updates or state.global_step >= state.max_steps:
            return
        if state.is_world_process_zero:
            self.stopped_by = self._alarm()
        if _everywhere(self.stopped_by is not None):
            self.stopped = control.should_save = control.should_training_stop = True

    def _alarm(self) -> Alarm | None:
        """The first alarm that is to end the training. Others are told."""
        try:
            if self._watcher is None:
                self._watcher = Watcher(opened(self._out), self._out / "watch", declared=self._declared)
            self._read += self._watcher.read()
        except DataError:
            return None  # nothing is logged yet
        if self._read < self._looked * _GROWTH or not self._read:
            return None
        self._looked = self._read
        ends = None
        for one in self._watcher.look().alarms:
            if (one.kind, one.criterion) not in self._said:
                self._said.add((one.kind, one.criterion))
                print(f"rubricd: {sentence(one, self._updates)}", file=sys.stderr, flush=True)
            if one.kind in self._stop and ends is None:
                ends = one
        return ends


def sentence(alarm: Alarm, updates: int) -> str:
    """What an alarm says, in one line, with its step in batches."""
    about = "" if alarm.criterion is None else f" `{alarm.criterion.text or alarm.criterion.id}`"
    return (
        f"ALARM {alarm.kind}{about} at batch {alarm.step / updates:g}: {alarm.value:.3f}, limit {alarm.limit:.3f}; "
        f"{alarm.action}: {alarm.advice}"
    )


def _everywhere(here: bool) -> bool:
    """What the first process found, on all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return here
    told = [here]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]

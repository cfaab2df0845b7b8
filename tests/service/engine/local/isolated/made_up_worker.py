"""The program of a judge's process without a model: `FakeEngine` in place of the local one. It starts at once.

What it is to do stands in the name of its judge, as words: `refuse`, `break`, `die` and `wait` while it loads (`die` as
if the system had killed it), `hang` and `slow` once it is asked. A file `changed` in its folder is another judge.
"""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from service.engine.fake import FakeEngine, FaultPlan
from service.engine.local.isolated.messages import JudgeSpec, LoadedFacts
from service.engine.local.isolated.worker import main
from service.errors import ConfigurationError

CALL_S = 0.005


class SlowEngine(FakeEngine):
    """Computes a layer each 0.05 s, for longer than the `hang_s` of the test that uses it."""

    progress: Any

    async def read_labels(self, prompts: Any, label_ids: tuple[int, ...]) -> Any:
        thread = threading.Thread(target=self._compute)
        thread.start()
        while thread.is_alive():
            await self._sleep(0.01)
        return await super().read_labels(prompts, label_ids)

    def _compute(self) -> None:
        for _ in range(40):
            time.sleep(0.05)
            self.progress.count += 1


def load(spec: JudgeSpec) -> tuple[Any, LoadedFacts]:
    folder = Path(spec.judge)
    words = folder.name.split("-")
    if "refuse" in words:
        raise ConfigurationError("this judge is refused: name another")
    if "break" in words:
        raise RuntimeError("the loader broke")
    if "die" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "wait" in words:
        time.sleep(600)
    made = SlowEngine if "slow" in words else FakeEngine
    engine: Any = made(plan=FaultPlan(rates={"hang": 1.0}) if "hang" in words else FaultPlan(batch_s=CALL_S))
    engine.progress = SimpleNamespace(count=0)
    facts = {"changed": str((folder / "changed").exists())}
    return engine, LoadedFacts(replace(engine.identity, facts=facts), engine.max_model_len, spec.judge)


if __name__ == "__main__":
    main(load)

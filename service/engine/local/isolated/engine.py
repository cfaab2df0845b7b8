"""Queries a judge that runs in a process of its own, so that judging takes no time from reading requests.

The process is another interpreter: what the service does with requests and what the judge computes do not wait for each
other's turn. Nothing of torch is imported here.

Guarantees: each prompt has exactly one outcome, also when the process dies or hangs. The watchdog sees both; then
everybody who waits gets a failure at once, and new queries are refused with the reason (`down`) until a new process has
loaded the judge. A restart does not change the judge: where the checkpoint's files have changed meanwhile, the engine
stays down. The process ends with the service, whatever ends that.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from service.clock import SystemClock
from service.engine.base import GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.local.isolated.messages import Call, JudgeSpec, LoadedFacts
from service.engine.local.isolated.process import JudgeProcess
from service.engine.supervision.restart import restart_until_it_runs
from service.engine.supervision.watchdog import end_watch, watch
from service.errors import ConfigurationError, EngineFailed

_STOPPED = "the judge was stopped"


class IsolatedEngine:
    """An Engine over one process. Create one with `load`."""

    streams = False
    pause_s = 0.0
    watched_name = "the judge's process"

    def __init__(self, process: JudgeProcess, loaded: LoadedFacts, spec: JudgeSpec, *, hang_s: float) -> None:
        self.identity = loaded.identity
        self.max_model_len = loaded.max_model_len
        self.hang_s = hang_s
        self.restarts = 0
        self._clock = SystemClock()
        self._process = process
        self._loaded = loaded
        # A restart takes the same files, also where a branch of the hub has moved.
        self._spec = replace(spec, judge=loaded.folder, revision=loaded.identity.revision)
        self._down: str | None = None
        self._numbers = itertools.count()
        # The calls and places of a prompt in flight, by the id of its object.
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._watchdog = asyncio.create_task(watch(self, self._clock), name="local watchdog")

    @classmethod
    async def load(cls, spec: JudgeSpec, *, hang_s: float = 60.0) -> Self:
        """Starts the process and loads the judge in it, or raises ConfigurationError.

        `hang_s`: with work in flight and no sign of progress for so long the process is restarted.
        """
        spec = replace(spec, progress_s=min(spec.progress_s, hang_s / 4))
        return cls(*await JudgeProcess.start(spec), spec, hang_s=hang_s)

    @property
    def down(self) -> str | None:
        return self._down

    @property
    def instance(self) -> JudgeProcess:
        return self._process

    @property
    def busy(self) -> bool:
        return self._process.busy

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        return await self._query(Call(next(self._numbers), tuple(prompts), label_ids=label_ids))

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        return await self._query(Call(next(self._numbers), tuple(prompts), samplings=tuple(samplings)))

    def cancel(self, prompt: Prompt) -> None:
        for number, place in self._places.get(id(prompt), ()):
            self._process.cancel(number, place)

    async def stop(self) -> None:
        self.mark_down(_STOPPED)
        await end_watch(self._watchdog)
        await self._process.stop()

    def mark_down(self, reason: str) -> None:
        """Refuses new queries from here on, and fails everybody who waits. The first reason stays."""
        self._down = self._down or reason
        self._process.fail_all(self._down)

    async def restart(self) -> None:
        """Stops the process and starts others until one has loaded the judge. Called while the engine is down."""
        self._process = await restart_until_it_runs(self.watched_name, self._clock, self._start_again, self._stay_down)
        self.restarts += 1
        self._down = None

    async def _start_again(self) -> JudgeProcess:
        await self._process.stop()
        process, loaded = await JudgeProcess.start(self._spec)
        if loaded.identity.facts != self._loaded.identity.facts:
            await process.stop()
            raise ConfigurationError("the judge's files have changed since the start: restart the service")
        return process

    def _stay_down(self, reason: str) -> None:
        self._down = reason

    async def _query(self, call: Call) -> list[Any]:
        if self._down is not None:
            raise EngineFailed(self._down)
        if not call.prompts:
            return []
        for place, prompt in enumerate(call.prompts):
            self._places.setdefault(id(prompt), []).append((call.number, place))
        try:
            return await self._process.call(call)
        finally:
            for place, prompt in enumerate(call.prompts):
                if left := [one for one in self._places[id(prompt)] if one != (call.number, place)]:
                    self._places[id(prompt)] = left
                else:
                    del self._places[id(prompt)]

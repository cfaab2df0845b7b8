"""Queries a judge that vLLM runs in processes below this one, through AsyncLLM with token ids.

vLLM has a queue of its own, so prompts are answered as they come (`streams`), and it caches the prefixes of earlier
prompts; prompts of different salts share nothing there.

Guarantees: each prompt has exactly one outcome, also when vLLM crashes or hangs. The watchdog sees both; then everybody
who waits gets a failure at once, and new queries are refused with the reason (`down`) until a restarted vLLM has read a
prompt. A restart does not change the judge: where the checkpoint's files have changed meanwhile, the engine stays down.
A caller that is cancelled, and a prompt that is cancelled, leave no request behind in vLLM.
"""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from service.clock import SystemClock
from service.engine.base import EngineIdentity, GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.checkpoint import refuse_missing_weights
from service.engine.hub import resolve
from service.engine.identity import checkpoint_facts
from service.engine.supervision.checkpoint_files import CheckpointFiles
from service.engine.supervision.restart import restart_until_it_runs
from service.engine.supervision.watchdog import end_watch, watch
from service.engine.untrained import is_untrained
from service.engine.vllm import requests
from service.engine.vllm.options import Options, facts
from service.engine.vllm.process import VllmInstance
from service.engine.vllm.startup import start_and_probe
from service.errors import EngineFailed, JudgementError, TooLong


@dataclass(slots=True, eq=False)
class _Request:
    """`queue` is where vLLM puts the output; whatever is put there first, an output or an error, ends the wait."""

    id: str
    prompt: Prompt
    queue: Any = field(default=None)


class VllmEngine:
    """An Engine over vLLM. Create one with `load`; one at a time in a process."""

    streams = True
    pause_s = 0.0
    watched_name = "vLLM"

    def __init__(
        self, instance: VllmInstance, folder: Path, options: Options, identity: EngineIdentity, *, hang_s: float
    ) -> None:
        self.identity = identity
        self.max_model_len = instance.max_model_len
        self.hang_s = hang_s
        self.restarts = 0
        self._clock = SystemClock()
        self._instance = instance
        self._folder = folder
        self._options = options
        self._files = CheckpointFiles(folder, identity.facts)
        self._down: str | None = None
        self._numbers = itertools.count()
        self._requests: dict[str, _Request] = {}
        self._aborts: set[asyncio.Task[None]] = set()
        self._label_params: dict[tuple[int, ...], Any] = {}
        # The shared part that was checked last: a response's criteria share one tuple, which is long.
        self._checked: tuple[int, ...] = ()
        self._watchdog = asyncio.create_task(watch(self, self._clock), name="vllm watchdog")

    @classmethod
    async def load(
        cls, path_or_name: str, options: Options | None = None, *, revision: str | None = None, hang_s: float = 60.0
    ) -> Self:
        """Starts vLLM and reads one prompt with it, or raises ConfigurationError.

        `hang_s`: with work in flight and no output for so long vLLM is restarted.
        """
        options = options or Options()
        folder, revision = await asyncio.to_thread(resolve, path_or_name, revision)
        # First, because it refuses what is no whole set of safetensors.
        checkpoint = await asyncio.to_thread(checkpoint_facts, folder)
        # vLLM (0.32) leaves missing weights of a linear layer as the memory was, and answers.
        await asyncio.to_thread(refuse_missing_weights, folder)
        instance = await start_and_probe(folder, options)
        identity = EngineIdentity(
            model=path_or_name,
            revision=revision or f"sha256:{checkpoint['weights_sha256'][:12]}",
            engine="vllm",
            facts={**checkpoint, **facts(instance.llm.vllm_config, folder, options)},
            toy=await asyncio.to_thread(is_untrained, folder),
        )
        return cls(instance, folder, options, identity, hang_s=hang_s)

    @property
    def down(self) -> str | None:
        return self._down

    @property
    def instance(self) -> VllmInstance:
        return self._instance

    @property
    def busy(self) -> bool:
        return bool(self._requests)

    @property
    def processes(self) -> list[int]:
        """The ids of vLLM's processes: first the one with its queue, then its workers."""
        return [process.pid for process in self._instance.processes]

    @property
    def unfinished(self) -> int:
        """Requests that vLLM still holds."""
        return int(self._instance.llm.get_num_unfinished_requests())

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        params = self._label_params.get(label_ids)
        if params is None:
            params = self._label_params[label_ids] = requests.label_params(label_ids)
        outputs = await self._query(prompts, [params] * len(prompts))
        return _require_some([_parsed(output, requests.read_labels, label_ids) for output in outputs])

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        params = [requests.generation_params(sampling) for sampling in samplings]
        outputs = await self._query(prompts, params)
        return _require_some([_parsed(output, requests.read_generation) for output in outputs])

    def cancel(self, prompt: Prompt) -> None:
        self._abort([request.id for request in self._requests.values() if request.prompt is prompt])

    async def stop(self) -> None:
        self.mark_down("the judge was stopped")
        await end_watch(self._watchdog)
        await asyncio.gather(*self._aborts, return_exceptions=True)
        # Its processes are killed, and its logger would report that as an error.
        logging.getLogger("vllm").setLevel(logging.CRITICAL)
        await self._instance.stop()

    def mark_down(self, reason: str) -> None:
        """Refuses new queries from here on, and fails everybody who waits. The first reason stays."""
        self._down = self._down or reason
        for request in self._requests.values():
            if request.queue is not None:
                request.queue.put(EngineFailed(self._down))

    async def restart(self) -> None:
        """Stops the instance and starts others until one reads a prompt. Called while the engine is down."""
        self._instance = await restart_until_it_runs(self.watched_name, self._clock, self._start_again, self._stay_down)
        self.restarts += 1
        self._down = None

    async def _start_again(self) -> VllmInstance:
        await self._instance.stop()
        await asyncio.to_thread(self._files.check_unchanged)
        return await start_and_probe(self._folder, self._options)

    def _stay_down(self, reason: str) -> None:
        self._down = reason

    async def _query(self, prompts: Sequence[Prompt], params: Sequence[Any]) -> list[Any]:
        """vLLM's output or a failure for each prompt. When it ends, vLLM holds none of the requests."""
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self._down is not None:
            raise EngineFailed(self._down)
        created: list[_Request] = []
        try:
            refusals = []
            # All are sent before the first output is awaited, so that vLLM can compute them together.
            for prompt, wanted in zip(prompts, params, strict=True):
                created.append(request := _Request(f"{next(self._numbers)}", prompt))
                refusals.append(await self._send(request, wanted))
            return [
                await self._output(request) if refusal is None else refusal
                for request, refusal in zip(created, refusals, strict=True)
            ]
        finally:
            left = [request.id for request in created if self._requests.pop(request.id, None) is not None]
            self._abort(left)

    async def _send(self, request: _Request, params: Any) -> JudgementError | None:
        """Hands the request to vLLM; returns a failure where it was not accepted."""
        prompt = request.prompt
        if (refused := self._refusal(prompt)) is not None:
            return refused
        tokens = {"type": "token", "prompt_token_ids": [*prompt.shared, *prompt.own]}
        if prompt.salt:
            tokens["cache_salt"] = prompt.salt
        instance = self._instance
        self._requests[request.id] = request
        try:
            request.queue = await instance.llm.add_request(
                request.id, tokens, params, lora_request=instance.lora, priority=prompt.priority
            )
        except Exception as error:
            del self._requests[request.id]
            # Its text may quote the prompt.
            return EngineFailed(self._down or f"vLLM refuses the prompt: {type(error).__name__}")
        # vLLM may have crashed, and even been restarted, during the await: then nobody answers in this queue.
        if instance is not self._instance or self._down is not None:
            return EngineFailed(self._down or "vLLM was restarted")
        return None

    async def _output(self, request: _Request) -> Any:
        queue = request.queue
        try:
            output = queue.get_nowait() or await queue.get()
        except EngineFailed as error:
            output = EngineFailed(str(error))
        except Exception as error:
            output = EngineFailed(self._down or f"vLLM failed: {type(error).__name__}")
        del self._requests[request.id]
        return output

    def _refusal(self, prompt: Prompt) -> JudgementError | None:
        if len(prompt) >= self.max_model_len:
            return TooLong(f"{len(prompt)} prompt tokens and one answer token exceed {self.max_model_len}")
        # vLLM accepts ids that its tokenizer knows and its model does not; they would crash its process.
        vocabulary_size = self._instance.vocabulary_size
        shared_is_valid = prompt.shared is self._checked or _in_vocabulary(prompt.shared, vocabulary_size)
        if not shared_is_valid or not _in_vocabulary(prompt.own, vocabulary_size):
            return EngineFailed("the prompt holds ids that are not in the judge's vocabulary")
        self._checked = prompt.shared
        return None

    def _abort(self, ids: list[str]) -> None:
        if ids and self._down is None:
            task = asyncio.create_task(_abort(self._instance, ids))
            self._aborts.add(task)
            task.add_done_callback(self._aborts.discard)


def _in_vocabulary(ids: tuple[int, ...], vocabulary_size: int) -> bool:
    return not ids or (min(ids) >= 0 and max(ids) < vocabulary_size)


async def _abort(instance: VllmInstance, ids: list[str]) -> None:
    # Whatever goes wrong here has ended these requests another way.
    with suppress(Exception):
        await instance.llm.abort(ids)


def _parsed(output: Any, read: Any, *more: Any) -> Any:
    return output if isinstance(output, JudgementError) else read(output, *more)


def _require_some(outcomes: list[Any]) -> list[Any]:
    """Returns all outcomes. Raises EngineFailed where every one is that, as the whole batch failed then."""
    if outcomes and all(isinstance(outcome, EngineFailed) for outcome in outcomes):
        raise EngineFailed(str(outcomes[0]))
    return outcomes

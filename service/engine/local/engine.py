"""Runs a judge in the caller's process: transformers on a CPU or a GPU, whole groups of responses in one forward pass.

What prompts of a batch begin with is computed once: the instructions for all, the conversation for all its responses,
a response for all its criteria. A label is read without a token being decoded.

Guarantees: probabilities are over the whole vocabulary, in float32, from logits in float32 (`head.py`). Worker threads
do all the work, so the event loop does not wait for the model. A forward pass that fails (no memory, for one) fails the
prompts in it and nobody else, and the engine stays usable. Before each pass and each decoded token a worker checks
whether the caller has left or the prompt was cancelled.
"""

import asyncio
import copy
import gc
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self, TypeVar

import torch

from service.engine.base import GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.checkpoint import Dtype, LoadedCheckpoint, load_checkpoint
from service.engine.local.batch import Batch, Limits
from service.engine.local.decoding import OutputTokenizer
from service.engine.local.forward import ALONE, SHARED_CACHE, TREES, ModelRunner
from service.engine.local.probe import try_out
from service.engine.local.progress import Progress
from service.engine.local.rotary import fix_frequencies
from service.errors import EngineFailed

T = TypeVar("T")
_log = logging.getLogger(__name__)
# A CPU is no faster on larger passes, and a caller who left is noticed between them.
_MAX_BATCH_TOKENS = {"cpu": 8_192}
_MAX_BATCH_TOKENS_ELSEWHERE = 32_768
_STOPPED = "the judge was stopped"


class LocalEngine:
    """An Engine over one model, in the caller's process. Create one with `load`."""

    streams = False
    pause_s = 0.0
    restarts = 0

    def __init__(
        self,
        checkpoint: LoadedCheckpoint,
        *,
        max_batch_tokens: int | None = None,
        share_prefix: bool = True,
        workers: int | None = None,
    ) -> None:
        """The arguments are those of `load`."""
        self.max_model_len = checkpoint.max_model_len
        workers = workers or _default_workers(checkpoint.device)
        self.folder = checkpoint.folder
        self.progress = Progress()
        fix_frequencies(checkpoint.model, checkpoint.max_model_len)
        models = replicate(checkpoint.model, workers)
        for model in models:
            self.progress.follow(model)
        runner, *others = (ModelRunner(model, checkpoint.device, checkpoint.max_model_len) for model in models)
        way = try_out(runner, share=share_prefix)
        for other in others:
            other.use(way)
        shared = way in (TREES, SHARED_CACHE)
        if share_prefix and not shared:
            _log.warning("prefixes are computed for each prompt: the model's cache cannot be shared by rows")
        # Padded rows hold their prefix once a row, so they are given the larger budget on a CPU as well.
        budget = _MAX_BATCH_TOKENS_ELSEWHERE
        if way is TREES:
            budget = _MAX_BATCH_TOKENS.get(checkpoint.device.type, _MAX_BATCH_TOKENS_ELSEWHERE)
        self._limits = Limits(checkpoint.max_model_len, max_batch_tokens or budget, checkpoint.vocabulary_size)
        facts = {
            "share_prefix": str(shared).lower(),
            "attention": runner.attention,
            "head_dtype": runner.head_dtype,
        }
        if way is ALONE:
            facts["batched"] = "false"
        self.identity = replace(checkpoint.identity, facts={**checkpoint.identity.facts, **facts})
        self._runners: list[ModelRunner] = [runner, *others]
        self._worker = threading.local()
        self._tokenizer = OutputTokenizer(checkpoint.folder, checkpoint.vocabulary_size, checkpoint.model)
        # Two batches side by side waste less of a CPU's cores than one on all of them: workers divide the cores.
        threads = max(1, torch.get_num_threads() // workers)
        self._pool = ThreadPoolExecutor(workers, "judge", self._set_up_worker, (iter(self._runners), threads))
        self._stopped = threading.Event()
        # Prompts by the id of their object: how many calls are computing it, and whether it was cancelled.
        self._in_flight: Counter[int] = Counter()
        self._cancelled: set[int] = set()

    @classmethod
    def load(
        cls,
        path_or_name: str,
        *,
        revision: str | None = None,
        dtype: Dtype = "auto",
        device: str | None = None,
        max_model_len: int | None = None,
        max_batch_tokens: int | None = None,
        share_prefix: bool = True,
        workers: int | None = None,
    ) -> Self:
        """Loads the judge and tries it out, or raises ConfigurationError. Blocks for as long as loading takes.

        `max_batch_tokens` bounds what is computed in one pass: see `plan_passes`, and `plan_rows` for models that read
        no trees. `workers` compute batches side by side; two on a CPU of several cores, else one, if not given.
        """
        checkpoint = load_checkpoint(
            path_or_name, revision=revision, dtype=dtype, device=device, max_model_len=max_model_len
        )
        return cls(checkpoint, max_batch_tokens=max_batch_tokens, share_prefix=share_prefix, workers=workers)

    @property
    def down(self) -> str | None:
        return _STOPPED if self._stopped.is_set() else None

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not all(0 <= label < self._limits.vocabulary_size for label in label_ids):
            raise ValueError("a label is not in the judge's vocabulary")
        return await self._run(prompts, lambda batch: batch.read_labels(label_ids))

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        if len(prompts) != len(samplings) or not all(sampling.max_tokens > 0 for sampling in samplings):
            raise ValueError("every prompt has a sampling, of one token at least")
        return await self._run(prompts, lambda batch: batch.generate(samplings))

    def cancel(self, prompt: Prompt) -> None:
        if self._in_flight[id(prompt)] > 0:
            self._cancelled.add(id(prompt))

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.to_thread(self._pool.shutdown)
        # Everything that holds the weights goes, so that another engine of this process can have the memory.
        self._runners = []
        self._worker = threading.local()
        self._tokenizer.release_model()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    async def _run(self, prompts: Sequence[Prompt], compute: Callable[[Batch], list[T]]) -> list[T]:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self.down is not None:
            raise EngineFailed(self.down)
        caller_left = threading.Event()
        batch = Batch(
            prompts=tuple(prompts),
            limits=self._limits,
            runner=lambda: self._runner_of_thread(caller_left),
            tokenizer=self._tokenizer,
            is_cancelled=lambda prompt: id(prompt) in self._cancelled,
        )
        self._in_flight.update(map(id, batch.prompts))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, compute, batch)
        finally:
            # Reached by a cancelled caller while the thread still works: it stops before its next pass.
            caller_left.set()
            self._release(batch.prompts)

    def _release(self, prompts: tuple[Prompt, ...]) -> None:
        self._in_flight.subtract(map(id, prompts))
        for prompt in prompts:
            if self._in_flight[id(prompt)] <= 0:
                del self._in_flight[id(prompt)]
                self._cancelled.discard(id(prompt))

    def _set_up_worker(self, runners: Iterator[ModelRunner], threads: int) -> None:
        """Runs in each worker's thread before its first batch."""
        self._worker.runner = next(runners)
        torch.set_num_threads(threads)

    def _runner_of_thread(self, caller_left: threading.Event) -> ModelRunner:
        if self._stopped.is_set():
            raise EngineFailed(_STOPPED)
        if caller_left.is_set():
            raise EngineFailed("nobody waits for this batch any more")
        runner: ModelRunner = self._worker.runner
        return runner


def _default_workers(device: torch.device) -> int:
    return min(2, torch.get_num_threads()) if device.type == "cpu" else 1


def replicate(model: Any, count: int) -> list[Any]:
    """The model and copies of its structure over the same weights: hooks and state of a pass are each copy's own."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return [model, *(copy.deepcopy(model, dict(tensors)) for _ in range(count - 1))]

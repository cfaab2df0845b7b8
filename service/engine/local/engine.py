"""A judge in this process: transformers on a CPU or a GPU, whole groups of responses in one forward pass.

What prompts of a batch begin with is computed once: the instructions for all, the conversation for all its responses,
a response for all its criteria. A label is read without a token being decoded.

Always true:
- Probabilities are over the whole vocabulary, in float32.
- Threads of their own do all the work, so the event loop never waits for the model. On a CPU there are two, which
  divide the cores: two batches side by side waste less of them than one on all. They share the weights and nothing
  else.
- A forward pass that fails (no memory, for one) fails the prompts in it and nobody else. The engine stays usable.
- A caller who left, or a prompt that was abandoned, is looked for before each pass and each written token.
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
from service.engine.local.decoding import Language
from service.engine.local.forward import Forward
from service.errors import EngineFailed

T = TypeVar("T")
_log = logging.getLogger(__name__)
# A CPU is no faster on larger passes, and a caller who left is noticed between them.
_BUDGET = {"cpu": 8_192}
_BUDGET_ELSEWHERE = 32_768


class LocalEngine:
    """An Engine over one model in this process. Make one with `load`."""

    streams = False
    restarts = 0

    def __init__(
        self,
        checkpoint: LoadedCheckpoint,
        *,
        max_batch_tokens: int | None,
        share_prefix: bool,
        workers: int | None = None,
    ) -> None:
        self.max_model_len = checkpoint.max_model_len
        workers = workers or _workers(checkpoint.device)
        forward, *others = (
            Forward(model, checkpoint.device, checkpoint.max_model_len, share=share_prefix)
            for model in _with_twins(checkpoint.model, workers)
        )
        shared = forward.tree or forward.repeatable
        if share_prefix and not shared:
            _log.warning("prefixes are computed for each prompt: the model's cache cannot be repeated")
        budget = _BUDGET.get(checkpoint.device.type, _BUDGET_ELSEWHERE) if forward.tree else _BUDGET_ELSEWHERE
        self._limits = Limits(checkpoint.max_model_len, max_batch_tokens or budget, checkpoint.vocabulary_size)
        facts = {"share_prefix": str(shared).lower(), "attention": forward.attention}
        self.identity = replace(checkpoint.identity, facts={**checkpoint.identity.facts, **facts})
        self._forwards: list[Forward] = [forward, *others]
        self._own = threading.local()
        self._language = Language(checkpoint.folder, checkpoint.vocabulary_size, checkpoint.model)
        threads = max(1, torch.get_num_threads() // workers)
        self._threads = ThreadPoolExecutor(workers, "judge", self._begin, (iter(self._forwards), threads))
        self._stopped = threading.Event()
        self._asked: Counter[int] = Counter()
        self._abandoned: set[int] = set()

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
        """Load the judge and try it out, or raise ConfigurationError. Blocks for as long as loading takes.

        `max_batch_tokens` bounds what is computed in one pass: see `plan`, and `groups` for models that read no trees.
        `workers` compute batches side by side; two on a CPU of several cores, else one, if not given.
        """
        checkpoint = load_checkpoint(
            path_or_name, revision=revision, dtype=dtype, device=device, max_model_len=max_model_len
        )
        return cls(checkpoint, max_batch_tokens=max_batch_tokens, share_prefix=share_prefix, workers=workers)

    @property
    def down(self) -> str | None:
        return "the judge was stopped" if self._stopped.is_set() else None

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not all(0 <= label < self._limits.vocabulary for label in label_ids):
            raise ValueError("a label is not in the judge's vocabulary")
        return await self._ask(prompts, lambda batch: batch.read(label_ids))

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        if len(prompts) != len(samplings) or not all(sampling.max_tokens > 0 for sampling in samplings):
            raise ValueError("every prompt has a sampling, of one token at least")
        return await self._ask(prompts, lambda batch: batch.write(samplings))

    def cancel(self, prompt: Prompt) -> None:
        if self._asked[id(prompt)] > 0:
            self._abandoned.add(id(prompt))

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.to_thread(self._threads.shutdown)
        self._forwards = []
        self._own = threading.local()
        self._language.forget()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    async def _ask(self, prompts: Sequence[Prompt], work: Callable[[Batch], list[T]]) -> list[T]:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self.down is not None:
            raise EngineFailed(self.down)
        unwanted = threading.Event()
        batch = Batch(
            prompts=tuple(prompts),
            limits=self._limits,
            forward=lambda: self._running(unwanted),
            language=self._language,
            left=lambda prompt: id(prompt) in self._abandoned,
        )
        self._asked.update(map(id, batch.prompts))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, batch)
        finally:
            # Reached by a cancelled caller while the thread still works: it stops before its next pass.
            unwanted.set()
            self._forget(batch.prompts)

    def _forget(self, prompts: tuple[Prompt, ...]) -> None:
        self._asked.subtract(map(id, prompts))
        for prompt in prompts:
            if self._asked[id(prompt)] <= 0:
                del self._asked[id(prompt)]
                self._abandoned.discard(id(prompt))

    def _begin(self, forwards: Iterator[Forward], threads: int) -> None:
        """In each worker's thread, before its first batch."""
        self._own.forward = next(forwards)
        torch.set_num_threads(threads)

    def _running(self, unwanted: threading.Event) -> Forward:
        if self._stopped.is_set():
            raise EngineFailed("the judge was stopped")
        if unwanted.is_set():
            raise EngineFailed("nobody waits for this batch any more")
        forward: Forward = self._own.forward
        return forward


def _workers(device: torch.device) -> int:
    return min(2, torch.get_num_threads()) if device.type == "cpu" else 1


def _with_twins(model: Any, count: int) -> list[Any]:
    """The model and others of its structure over the same weights: hooks and state of a pass are each one's own."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return [model, *(copy.deepcopy(model, dict(tensors)) for _ in range(count - 1))]

"""A judge in this process: transformers on a CPU or a GPU, one forward pass for all criteria of one response.

What a group of prompts shares is computed once, as one row; its key-value cache is then seen by every row of a second,
batched pass over the prompts' own parts. No token is ever decoded.

Always true:
- Rows are padded on the right. A causal model's real tokens never see what comes after them, so padding changes no
  verdict, every token's slot in the cache is its position (sliding windows stay right), and no attention mask is
  needed.
- Probabilities are over the whole vocabulary, in float32, at each row's last real token; only there is the model's
  head computed.
- One thread does all the work, so the event loop never waits for the model and two batches never meet in it.
- A forward pass that fails (no memory, for one) fails the prompts in it and nobody else. The engine stays usable.
"""

import asyncio
import copy
import gc
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from service.engine.base import LabelRead, Outcome, Prompt
from service.engine.checkpoint import Dtype, Judge, load_judge
from service.errors import ConfigurationError, EngineFailed, TooLong

_log = logging.getLogger(__name__)
# The cache layers whose rows may be views of one row: update() concatenates, and so copies, before it stores.
_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts by their index in the batch, in passes. `shared` is computed once; rows hold what comes after it."""

    shared: tuple[int, ...]
    passes: tuple[tuple[int, ...], ...]

    @property
    def members(self) -> list[int]:
        return [index for one in self.passes for index in one]


class LocalEngine:
    """An Engine over one model in this process. Make one with `load`."""

    def __init__(self, judge: Judge, *, max_batch_tokens: int, share_prefix: bool) -> None:
        self.max_model_len = judge.max_model_len
        self._vocabulary = judge.vocabulary
        self._max_batch_tokens = max_batch_tokens
        self._forward: _Forward | None = _Forward(judge.model, judge.device)
        shareable = self._forward.try_out()
        if share_prefix and not shareable:
            _log.warning("prefixes are computed for each prompt: the model's cache cannot be repeated")
        self._share = share_prefix and shareable
        facts = {**judge.identity.facts, "share_prefix": str(self._share).lower()}
        self.identity = replace(judge.identity, facts=facts)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        self._stopped = threading.Event()

    @classmethod
    def load(
        cls,
        path_or_name: str,
        *,
        revision: str | None = None,
        dtype: Dtype = "auto",
        device: str | None = None,
        max_model_len: int | None = None,
        max_batch_tokens: int = 32_768,
        share_prefix: bool = True,
    ) -> Self:
        """Load the judge and try it out, or raise ConfigurationError. Blocks for as long as loading takes.

        `max_batch_tokens` bounds rows x longest row of one pass, the shared prefix counted in every row, because that
        is what the cache holds; a single prompt may exceed it.
        """
        judge = load_judge(path_or_name, revision=revision, dtype=dtype, device=device, max_model_len=max_model_len)
        return cls(judge, max_batch_tokens=max_batch_tokens, share_prefix=share_prefix)

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if not all(0 <= label < self._vocabulary for label in label_ids):
            raise ValueError("a label is not in the judge's vocabulary")
        if self._stopped.is_set():
            raise EngineFailed("the judge was stopped")
        unwanted = threading.Event()
        try:
            work = asyncio.get_running_loop().run_in_executor(
                self._thread, self._read, tuple(prompts), label_ids, unwanted
            )
            return await work
        finally:
            # Reached by a cancelled caller while the thread still works: it stops before its next pass.
            unwanted.set()

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.to_thread(self._thread.shutdown)
        self._forward = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _read(
        self, prompts: tuple[Prompt, ...], label_ids: tuple[int, ...], unwanted: threading.Event
    ) -> list[Outcome]:
        refused = {index: error for index, prompt in enumerate(prompts) if (error := self._refusal(prompt))}
        outcomes: dict[int, Outcome] = dict(refused)
        served = [index for index in range(len(prompts)) if index not in refused]
        for group in plan(prompts, served, max_batch_tokens=self._max_batch_tokens, share=self._share):
            outcomes |= self._read_group(group, prompts, label_ids, unwanted)
        ordered = [outcomes[index] for index in range(len(prompts))]
        if ordered and all(isinstance(outcome, EngineFailed) for outcome in ordered):
            raise EngineFailed(str(ordered[0]))
        return ordered

    def _refusal(self, prompt: Prompt) -> Outcome | None:
        if len(prompt) >= self.max_model_len:
            return TooLong(f"{len(prompt)} prompt tokens and one answer token exceed {self.max_model_len}")
        # A GPU's answer to such an id is to refuse all further work of the process.
        if min(prompt.ids) < 0 or max(prompt.ids) >= self._vocabulary:
            return EngineFailed("the prompt holds ids that are not in the judge's vocabulary")
        return None

    def _read_group(
        self, group: Group, prompts: tuple[Prompt, ...], label_ids: tuple[int, ...], unwanted: threading.Event
    ) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        try:
            with torch.inference_mode():
                past = self._running(unwanted).prefix(group.shared) if group.shared else None
                for members in group.passes:
                    rows = [prompts[index].own if past is not None else prompts[index].ids for index in members]
                    logprobs = self._running(unwanted).rows(rows, past, label_ids)
                    outcomes |= dict(zip(members, map(_outcome, logprobs), strict=True))
        except EngineFailed as error:
            failure = str(error)
        except Exception as error:
            _log.exception("a forward pass of the judge failed")
            failure = f"the judge's forward pass failed: {type(error).__name__}"
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        first = min(group.members)
        for index in group.members:
            if index not in outcomes:
                outcomes[index] = EngineFailed(failure)
            elif isinstance(read := outcomes[index], LabelRead) and index != first:
                outcomes[index] = replace(read, cached_tokens=len(group.shared))
        return outcomes

    def _running(self, unwanted: threading.Event) -> "_Forward":
        if self._forward is None or self._stopped.is_set():
            raise EngineFailed("the judge was stopped")
        if unwanted.is_set():
            raise EngineFailed("nobody waits for this batch any more")
        return self._forward


def plan(prompts: Sequence[Prompt], served: Sequence[int], *, max_batch_tokens: int, share: bool) -> Iterator[Group]:
    """Groups of prompts with an equal shared part, then one group without for those that share with nobody."""
    by_shared: dict[tuple[int, ...], list[int]] = {}
    for index in served:
        by_shared.setdefault(prompts[index].shared if share else (), []).append(index)
    alone = by_shared.pop((), [])
    for shared, members in by_shared.items():
        if len(members) == 1:
            alone += members
        else:
            sizes = {index: len(prompts[index]) for index in members}
            yield Group(shared, _passes(sizes, max_batch_tokens))
    if alone:
        yield Group((), _passes({index: len(prompts[index]) for index in alone}, max_batch_tokens))


def _passes(sizes: dict[int, int], max_batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Cut prompts, shortest first so that rows of a pass pad little, where rows x longest would exceed the budget."""
    passes: list[list[int]] = [[]]
    for index in sorted(sizes, key=lambda index: (sizes[index], index)):
        if passes[-1] and (len(passes[-1]) + 1) * sizes[index] > max_batch_tokens:
            passes.append([])
        passes[-1].append(index)
    return tuple(tuple(one) for one in passes)


def _outcome(logprobs: list[float]) -> Outcome:
    if all(map(math.isfinite, logprobs)):
        return LabelRead(logprobs=tuple(logprobs))
    return EngineFailed("the judge's label probabilities are not finite numbers")


class _Forward:
    """The model's forward pass. Called from one thread, under inference_mode."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._last = torch.empty(0, dtype=torch.long, device=device)
        # The head of a large vocabulary is the dearest layer of a small model. `logits_to_keep` takes positions, but
        # the same ones for every row; ragged rows need one each.
        model.get_output_embeddings().register_forward_pre_hook(self._keep_last)

    def try_out(self) -> bool:
        """One small read both ways: can prefixes be shared? Raises ConfigurationError if nothing can be read."""
        try:
            with torch.inference_mode():
                self.rows([(0, 0), (0,)], None, (0,))
                past = self.prefix((0, 0))
                shareable = type(past) is DynamicCache and all(type(layer) in _REPEATABLE for layer in past.layers)
                if shareable:
                    self.rows([(0, 0), (0,)], past, (0,))
        except Exception as error:
            raise ConfigurationError(f"the judge's model cannot be asked ({type(error).__name__}): {error}") from error
        return shareable

    def prefix(self, ids: tuple[int, ...]) -> Any:
        """The cache of one row after these ids."""
        last = torch.tensor([len(ids) - 1])
        return getattr(self._call(torch.tensor([ids]), last, past=None, use_cache=True), "past_key_values", None)

    def rows(
        self, rows: Sequence[tuple[int, ...]], past: DynamicCache | None, label_ids: tuple[int, ...]
    ) -> list[list[float]]:
        """Each row's log-probabilities of the labels, (rows, labels), after `past` and the row."""
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        last = torch.tensor([len(row) - 1 for row in rows])
        cache = None if past is None else _repeated(past, len(rows))
        logits = self._call(ids, last, past=cache, use_cache=past is not None).logits
        if logits.shape[:2] != (len(rows), 1):
            raise EngineFailed("the model's head does not read one position of each row")
        logprobs = torch.log_softmax(logits[:, 0].float(), dim=-1)
        picked: list[list[float]] = logprobs[:, list(label_ids)].tolist()
        return picked

    def _call(self, ids: torch.Tensor, last: torch.Tensor, *, past: DynamicCache | None, use_cache: bool) -> Any:
        self._last = last.to(self._device)
        return self._model(input_ids=ids.to(self._device), past_key_values=past, use_cache=use_cache)

    def _keep_last(self, _: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        return (hidden[torch.arange(len(hidden), device=hidden.device), self._last].unsqueeze(1), *args[1:])


def _repeated(past: DynamicCache, n: int) -> DynamicCache:
    """A cache of n rows that are views of the one row; `past` itself stays as it is."""
    rows = copy.copy(past)
    layers: list[Any] = [copy.copy(layer) for layer in past.layers]
    rows.layers = layers
    for layer in layers:
        if layer.is_initialized:
            layer.keys = layer.keys.expand(n, *layer.keys.shape[1:])
            layer.values = layer.values.expand(n, *layer.values.shape[1:])
    return rows

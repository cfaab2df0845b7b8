"""Computes one call of the local engine in a worker thread: pass after pass, each with its own outcomes.

Guarantees: every prompt has an outcome. Outcomes of a pass that fails later are kept.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from service.engine.base import GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.local.decoding import DecodingCache, GenerationState, OutputTokenizer, sample_tokens
from service.engine.local.forward import ALONE, SHARED_CACHE, TREES, KeysValues, ModelRunner
from service.engine.local.plan import TreePass, plan_passes
from service.engine.local.rows import RowGroup, plan_rows
from service.errors import ConfigurationError, EngineFailed, JudgementError, TooLong

_log = logging.getLogger(__name__)
_CANCELLED = "nobody waits for this answer any more"


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_model_len` and `max_batch_tokens`, which bounds one pass, are in tokens."""

    max_model_len: int
    max_batch_tokens: int
    vocabulary_size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`runner` gives the thread's model runner, or raises EngineFailed once there is no reason to go on."""

    prompts: tuple[Prompt, ...]
    limits: Limits
    runner: Callable[[], ModelRunner]
    tokenizer: OutputTokenizer
    is_cancelled: Callable[[Prompt], bool]

    def read_labels(self, label_ids: tuple[int, ...]) -> list[Outcome]:
        outcomes: dict[int, Any] = self._refusals([1] * len(self.prompts))
        accepted = [index for index in range(len(self.prompts)) if index not in outcomes]
        budget = self.limits.max_batch_tokens
        way = self.runner().way
        if way is TREES:
            for tree_pass in plan_passes(self.prompts, accepted, max_batch_tokens=budget):
                self._guarded(tree_pass.members, outcomes, partial(self._read_tree, tree_pass, label_ids, outcomes))
        else:
            # A budget of one token leaves each prompt alone.
            rows_budget = 1 if way is ALONE else budget
            share = way is SHARED_CACHE
            for group in plan_rows(self.prompts, accepted, max_batch_tokens=rows_budget, share=share):
                self._guarded(group.members, outcomes, partial(self._read_group, group, label_ids, outcomes))
        return self._in_order(outcomes)

    def generate(self, samplings: Sequence[Sampling]) -> list[GenerationOutcome]:
        outcomes: dict[int, Any] = self._refusals([sampling.max_tokens for sampling in samplings])
        accepted = [index for index in range(len(self.prompts)) if index not in outcomes]
        try:
            # Before anything is computed: a judge whose answer could not be turned into text generates nothing.
            self.tokenizer.decode(())
            states = {index: GenerationState(samplings[index], self.tokenizer) for index in accepted}
        except ConfigurationError as error:
            raise EngineFailed(str(error)) from error
        if self.runner().way is TREES:
            longest = max((samplings[index].max_tokens for index in accepted), default=0)
            budget = self.limits.max_batch_tokens
            for tree_pass in plan_passes(self.prompts, accepted, max_batch_tokens=budget, answer_tokens=longest):
                self._guarded(tree_pass.members, outcomes, partial(self._generate_tree, tree_pass, states, outcomes))
        else:
            for index in accepted:
                self._guarded([index], outcomes, partial(self._generate_row, index, states[index], outcomes))
        return self._in_order(outcomes)

    def _refusals(self, answer_tokens: Sequence[int]) -> dict[int, JudgementError]:
        """Failures of prompts that are not computed at all. `answer_tokens` follow each prompt."""
        refused: dict[int, JudgementError] = {}
        # By object: a response's criteria share one tuple, which is long.
        known: dict[int, bool] = {}
        for index, (prompt, answer) in enumerate(zip(self.prompts, answer_tokens, strict=True)):
            if id(prompt.shared) not in known:
                known[id(prompt.shared)] = self._in_vocabulary(prompt.shared)
            if len(prompt) + answer > self.limits.max_model_len:
                most = self.limits.max_model_len
                refused[index] = TooLong(f"{len(prompt)} prompt and {answer} answer tokens exceed {most}")
            elif not known[id(prompt.shared)] or not self._in_vocabulary(prompt.own):
                # A GPU's answer to such an id is to refuse all further work of the process.
                refused[index] = EngineFailed("the prompt holds ids that are not in the judge's vocabulary")
        return refused

    def _in_vocabulary(self, ids: tuple[int, ...]) -> bool:
        return not ids or (min(ids) >= 0 and max(ids) < self.limits.vocabulary_size)

    def _guarded(self, members: Iterable[int], outcomes: dict[int, Any], compute: Callable[[], None]) -> None:
        """Runs `compute`; members that have no outcome afterwards fail, and nobody else."""
        failure = "the judge gave no answer"
        try:
            with torch.inference_mode():
                if all(self.is_cancelled(self.prompts[index]) for index in members):
                    raise EngineFailed(_CANCELLED)
                compute()
        except EngineFailed as error:
            failure = str(error)
        except Exception as error:
            _log.exception("a forward pass of the judge failed")
            failure = f"the judge's forward pass failed: {type(error).__name__}"
            # The next pass may be smaller: give it the memory that this one could not use.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        for index in members:
            outcomes.setdefault(index, EngineFailed(failure))

    def _in_order(self, outcomes: dict[int, Any]) -> list[Any]:
        ordered = [outcomes[index] for index in range(len(self.prompts))]
        if ordered and all(isinstance(outcome, EngineFailed) for outcome in ordered):
            raise EngineFailed(str(ordered[0]))
        return ordered

    def _read_tree(self, tree_pass: TreePass, label_ids: tuple[int, ...], outcomes: dict[int, Any]) -> None:
        read = _label_outcomes(self.runner().run_tree(tree_pass), label_ids)
        for index, outcome, cached in zip(tree_pass.members, read, tree_pass.cached, strict=True):
            outcomes[index] = _with_cached(outcome, cached)

    def _read_group(self, group: RowGroup, label_ids: tuple[int, ...], outcomes: dict[int, Any]) -> None:
        prefix = self.runner().compute_prefix(group.shared) if group.shared else None
        first = min(group.members)
        for members in group.passes:
            rows = [self.prompts[index].own if group.shared else self.prompts[index].ids for index in members]
            read = _label_outcomes(self.runner().run_rows(rows, prefix), label_ids)
            for index, outcome in zip(members, read, strict=True):
                outcomes[index] = _with_cached(outcome, len(group.shared) if index != first else 0)

    def _generate_tree(self, tree_pass: TreePass, states: dict[int, GenerationState], outcomes: dict[int, Any]) -> None:
        """Decodes all rows of a pass together. `live` are its rows that are still computed."""
        live = list(range(len(tree_pass.members)))
        keys_values: KeysValues = {}
        logits = self.runner().run_tree(tree_pass, keys_values)
        cache = DecodingCache(
            tree_pass, keys_values, max(states[index].sampling.max_tokens for index in tree_pass.members)
        )
        for step in range(self.limits.max_model_len):
            members = [tree_pass.members[row] for row in live]
            tokens = self._append_next(logits, members, states)
            going = [at for at, index in enumerate(members) if not states[index].done]
            for row, index in zip(live, members, strict=True):
                if states[index].done and index not in outcomes:
                    outcomes[index] = states[index].outcome(tree_pass.cached[row])
            if not going:
                return
            # Dropping rows copies the cache, so rows that are done stay until they are half of it.
            if 2 * len(going) <= len(live):
                cache.keep_rows(going)
                live, tokens = [live[at] for at in going], [tokens[at] for at in going]
            cache.advance()
            ends = [len(self.prompts[tree_pass.members[row]]) + step for row in live]
            # A row that is done may be computed beyond the model's length; nobody reads what comes of it.
            positions = [min(end, self.limits.max_model_len - 1) for end in ends]
            logits = self.runner().decode(tokens, positions, cache.attend)

    def _generate_row(self, index: int, state: GenerationState, outcomes: dict[int, Any]) -> None:
        """Decodes a row by itself, for a model that reads no trees. Without a cache all of it is computed each time."""
        ids: list[int] = list(self.prompts[index].ids)
        logits, cache = self.runner().run_row(ids, None)
        while True:
            ids += self._append_next(logits, [index], {index: state})
            if state.done:
                break
            logits, cache = self.runner().run_row(ids if cache is None else ids[-1:], cache)
        outcomes[index] = state.outcome(0)

    def _append_next(
        self, logits: torch.Tensor, members: Sequence[int], states: dict[int, GenerationState]
    ) -> list[int]:
        """Each member's next token, which is appended to its state unless that was done before."""
        tokens = sample_tokens(logits, [states[index] for index in members])
        for index, token in zip(members, tokens, strict=True):
            if states[index].done:
                continue
            if self.is_cancelled(self.prompts[index]):
                states[index].fail(_CANCELLED)
            else:
                states[index].append(token)
        return tokens


def _label_outcomes(logits: torch.Tensor, label_ids: tuple[int, ...]) -> list[Outcome]:
    """The labels' log-probabilities over the whole vocabulary, from logits (rows, vocabulary)."""
    exact = logits.float()
    picked = exact[:, list(label_ids)] - exact.logsumexp(dim=-1, keepdim=True)
    return [_label_outcome(row) for row in picked.tolist()]


def _label_outcome(logprobs: list[float]) -> Outcome:
    if all(map(math.isfinite, logprobs)):
        return LabelLogprobs(logprobs=tuple(logprobs))
    return EngineFailed("the judge's label probabilities are not finite numbers")


def _with_cached(outcome: Outcome, cached_tokens: int) -> Outcome:
    return replace(outcome, cached_tokens=cached_tokens) if isinstance(outcome, LabelLogprobs) else outcome

"""One call of the local engine, as its thread works on it: passes one after the other, each with its own outcomes.

Always true: every prompt has an outcome; what a pass had answered before it failed stays answered.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from service.engine.base import GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.local.decoding import Language, Rows, Writer, choose
from service.engine.local.forward import Forward, Kept
from service.engine.local.plan import Pass, plan
from service.engine.local.rows import Group, groups
from service.errors import ConfigurationError, EngineFailed, JudgementError, TooLong

_log = logging.getLogger(__name__)
_NOBODY = "nobody waits for this answer any more"


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_batch_tokens` is of one pass; `vocabulary` is the number of ids that the judge reads."""

    max_model_len: int
    max_batch_tokens: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`forward` raises EngineFailed once there is no reason to go on; `left` says that a prompt was abandoned."""

    prompts: tuple[Prompt, ...]
    limits: Limits
    forward: Callable[[], Forward]
    language: Language
    left: Callable[[Prompt], bool]

    def read(self, label_ids: tuple[int, ...]) -> list[Outcome]:
        outcomes: dict[int, Any] = self._refused([1] * len(self.prompts))
        served = [index for index in range(len(self.prompts)) if index not in outcomes]
        budget = self.limits.max_batch_tokens
        forward = self.forward()
        if forward.tree:
            for one in plan(self.prompts, served, max_batch_tokens=budget):
                self._guarded(one.members, outcomes, partial(self._read_tree, one, label_ids, outcomes))
        else:
            for group in groups(self.prompts, served, max_batch_tokens=budget, share=forward.repeatable):
                self._guarded(group.members, outcomes, partial(self._read_group, group, label_ids, outcomes))
        return self._ordered(outcomes)

    def write(self, samplings: Sequence[Sampling]) -> list[GenerationOutcome]:
        outcomes: dict[int, Any] = self._refused([sampling.max_tokens for sampling in samplings])
        served = [index for index in range(len(self.prompts)) if index not in outcomes]
        try:
            self.language.text(())
            writers = {index: Writer(samplings[index], self.language) for index in served}
        except ConfigurationError as error:
            raise EngineFailed(str(error)) from error
        if self.forward().tree:
            room = max((samplings[index].max_tokens for index in served), default=0)
            for one in plan(self.prompts, served, max_batch_tokens=self.limits.max_batch_tokens, answer=room):
                self._guarded(one.members, outcomes, partial(self._write_tree, one, writers, outcomes))
        else:
            for index in served:
                self._guarded([index], outcomes, partial(self._write_row, index, writers[index], outcomes))
        return self._ordered(outcomes)

    def _refused(self, answers: Sequence[int]) -> dict[int, JudgementError]:
        """What is not asked at all; `answers` are the tokens that follow each prompt."""
        refused: dict[int, JudgementError] = {}
        known: dict[int, bool] = {}
        for index, (prompt, answer) in enumerate(zip(self.prompts, answers, strict=True)):
            if id(prompt.shared) not in known:
                known[id(prompt.shared)] = self._readable(prompt.shared)
            if len(prompt) + answer > self.limits.max_model_len:
                most = self.limits.max_model_len
                refused[index] = TooLong(f"{len(prompt)} prompt and {answer} answer tokens exceed {most}")
            elif not known[id(prompt.shared)] or not self._readable(prompt.own):
                # A GPU's answer to such an id is to refuse all further work of the process.
                refused[index] = EngineFailed("the prompt holds ids that are not in the judge's vocabulary")
        return refused

    def _readable(self, ids: tuple[int, ...]) -> bool:
        return not ids or (min(ids) >= 0 and max(ids) < self.limits.vocabulary)

    def _guarded(self, members: Iterable[int], outcomes: dict[int, Any], work: Callable[[], None]) -> None:
        """Do the work; whoever of the members has no outcome then fails."""
        failure = "the judge gave no answer"
        try:
            with torch.inference_mode():
                if all(self.left(self.prompts[index]) for index in members):
                    raise EngineFailed(_NOBODY)
                work()
        except EngineFailed as error:
            failure = str(error)
        except Exception as error:
            _log.exception("a forward pass of the judge failed")
            failure = f"the judge's forward pass failed: {type(error).__name__}"
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        for index in members:
            outcomes.setdefault(index, EngineFailed(failure))

    def _ordered(self, outcomes: dict[int, Any]) -> list[Any]:
        ordered = [outcomes[index] for index in range(len(self.prompts))]
        if ordered and all(isinstance(outcome, EngineFailed) for outcome in ordered):
            raise EngineFailed(str(ordered[0]))
        return ordered

    def _read_tree(self, one: Pass, label_ids: tuple[int, ...], outcomes: dict[int, Any]) -> None:
        reads = _reads(self.forward().read(one), label_ids)
        for index, read, cached in zip(one.members, reads, one.cached, strict=True):
            outcomes[index] = replace(read, cached_tokens=cached) if isinstance(read, LabelLogprobs) else read

    def _read_group(self, group: Group, label_ids: tuple[int, ...], outcomes: dict[int, Any]) -> None:
        past = self.forward().prefix(group.shared) if group.shared else None
        first = min(group.members)
        for members in group.passes:
            rows = [self.prompts[index].own if group.shared else self.prompts[index].ids for index in members]
            for index, read in zip(members, _reads(self.forward().rows(rows, past), label_ids), strict=True):
                cached = len(group.shared) if index != first else 0
                outcomes[index] = replace(read, cached_tokens=cached) if isinstance(read, LabelLogprobs) else read

    def _write_tree(self, one: Pass, writers: dict[int, Writer], outcomes: dict[int, Any]) -> None:
        """`live` are the pass's rows that are still computed; those that are over leave when they are half of them."""
        live = list(range(len(one.members)))
        kept: Kept = {}
        logits = self.forward().read(one, kept)
        rows = Rows(one, kept, max(writers[index].sampling.max_tokens for index in one.members))
        for step in range(self.limits.max_model_len):
            members = [one.members[row] for row in live]
            tokens = self._go_on(logits, members, writers)
            going = [at for at, index in enumerate(members) if not writers[index].over]
            for row, index in zip(live, members, strict=True):
                if writers[index].over and index not in outcomes:
                    outcomes[index] = writers[index].outcome(one.cached[row])
            if not going:
                return
            if 2 * len(going) <= len(live):
                rows.keep(going)
                live, tokens = [live[at] for at in going], [tokens[at] for at in going]
            rows.advance()
            ends = [len(self.prompts[one.members[row]]) + step for row in live]
            positions = [min(end, self.limits.max_model_len - 1) for end in ends]
            logits = self.forward().decode(tokens, positions, rows.attend)

    def _write_row(self, index: int, writer: Writer, outcomes: dict[int, Any]) -> None:
        """For a model that reads no trees: a row by itself, computed anew for each token where it has no cache."""
        ids: list[int] = list(self.prompts[index].ids)
        logits, past = self.forward().step(ids, None)
        while True:
            ids += self._go_on(logits, [index], {index: writer})
            if writer.over:
                break
            logits, past = self.forward().step(ids if past is None else ids[-1:], past)
        outcomes[index] = writer.outcome(0)

    def _go_on(self, logits: torch.Tensor, members: Sequence[int], writers: dict[int, Writer]) -> list[int]:
        """Each member's next token, which its writer has taken unless it was over."""
        tokens = choose(logits, [writers[index] for index in members])
        for index, token in zip(members, tokens, strict=True):
            if writers[index].over:
                continue
            if self.left(self.prompts[index]):
                writers[index].fail(_NOBODY)
            else:
                writers[index].take(token)
        return tokens


def _reads(logits: torch.Tensor, label_ids: tuple[int, ...]) -> list[Outcome]:
    """The labels' log-probabilities from logits (rows, vocabulary)."""
    exact = logits.float()
    picked = exact[:, list(label_ids)] - exact.logsumexp(dim=-1, keepdim=True)
    return [_outcome(row) for row in picked.tolist()]


def _outcome(logprobs: list[float]) -> Outcome:
    if all(map(math.isfinite, logprobs)):
        return LabelLogprobs(logprobs=tuple(logprobs))
    return EngineFailed("the judge's label probabilities are not finite numbers")

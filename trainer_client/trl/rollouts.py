"""Implements TRL's `rollout_func`: it generates from the scaffolded prompt and returns the bare one.

Guarantees: a rollout takes its member and step from the trainer alone, so that restarts and processes agree. Evaluation
generates from the bare prompt. A scaffold takes no tokens from the answer's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client import wire
from trainer_client.live_rubrics.step_rubric import StepRubric
from trainer_client.scaffold import Message, Ratio, Scaffold, fitted, for_template
from trainer_client.trl.live_rubrics import LiveRubrics
from trainer_client.trl.prompt_row import bare, row_of
from trainer_client.trl.reward import JudgeReward


@dataclass(frozen=True, slots=True)
class _Start:
    """The start of one rollout: its prompt's ids without and with the scaffold, and the criteria that this reveals."""

    bare: list[int]
    scaffolded: list[int]
    member: int
    revealed: tuple[int, ...]
    share: float
    rubric: StepRubric | None


class Rollouts:
    """`tokens` bounds the tokens that a scaffold may add to a prompt.

    `live` changes rubrics from step to step. A scaffold shows what counts and is the row's own: what a proposer wrote
    after it had read the policy's answers is in no prompt of the policy.
    With `pipeline_parts` > 1 a batch is generated in so many parts, and earlier parts are judged while later ones are
    generated; every process must use the same number. `template` goes to the chat template.
    """

    def __init__(
        self,
        scaffold: Scaffold,
        *,
        ratio: Ratio = "bare/bare",
        tokens: int | None = None,
        judge: JudgeReward | None = None,
        pipeline_parts: int = 1,
        template: Mapping[str, Any] | None = None,
        live: LiveRubrics | None = None,
    ) -> None:
        self._live = live or LiveRubrics()
        self._scaffold = scaffold
        self._ratio = ratio
        self._tokens = tokens
        self._judge = judge
        self._pipeline_parts = pipeline_parts
        self._template = dict(template or {})
        self.generated_from: list[list[int]] = []
        """The token ids that the last call generated from, by prompt."""

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """`prompts` are this process's rows, each as often as it has members here; `trainer` is a GRPOTrainer."""
        starts = self._starts(prompts, trainer)
        self.generated_from = [start.scaffolded for start in starts]
        kept = self.generated_from if self._ratio == "scaffold/scaffold" else [start.bare for start in starts]
        return {
            "prompt_ids": kept,
            **self._generated(prompts, [start.rubric for start in starts], trainer),
            "member": [start.member for start in starts],
            "revealed": [json.dumps(start.revealed) for start in starts],
            "revealed_share": [start.share for start in starts],
            "held_out": [not trainer.model.training] * len(starts),
        }

    def _generated(
        self, prompts: list[Any], rubrics: Sequence[StepRubric | None], trainer: Any
    ) -> dict[str, list[Any] | None]:
        """`num_generations` is 1 whatever the group: TRL's vLLM server sends every G-th prompt only, and each member
        has a prompt of its own."""
        made: dict[str, list[Any]] = {"completion_ids": [], "logprobs": []}
        growing = trainer.model.training and self._live.begin(batch_of(trainer)[0])
        for part in _parts(len(prompts), self._pipeline_parts):
            ids, logprobs = trainer._generate_single_turn(self.generated_from[part], None, {}, num_generations=1)
            # TRL fails on an answer without a token.
            ids = [one or [trainer.eos_token_ids[0]] for one in ids]
            made["completion_ids"] += ids
            made["logprobs"] += logprobs or []
            if self._judge is not None and not growing:
                made.setdefault("ticket", []).extend(self._judge.begin_ids(prompts[part], ids, rubrics[part]))
        if self._judge is not None and growing:
            now = self._grown(prompts, rubrics, self._judge.answers_of(made["completion_ids"]), trainer)
            made["ticket"] = self._judge.begin_ids(prompts, made["completion_ids"], now)
        return {**made, "logprobs": made["logprobs"] or None}

    def _grown(
        self, prompts: list[Any], rubrics: Sequence[StepRubric | None], answers: Sequence[str], trainer: Any
    ) -> list[StepRubric | None]:
        """The rubrics of this batch with what is proposed from its answers, which are judged by it at once."""
        for name, value in self._live.propose(prompts, rubrics, answers).items():
            trainer._metrics["train"][f"evolving/{name}"].append(value)
        batch, rows = batch_of(trainer)[0], map(row_of, prompts)
        return [self._live.rubric(row["id"], _criteria(row), batch) for row in rows]

    def _starts(self, prompts: Sequence[Any], trainer: Any) -> list[_Start]:
        group = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        first = trainer.accelerator.process_index * len(prompts)
        return [self._start(prompt, (first + place) % group, group, trainer) for place, prompt in enumerate(prompts)]

    def _start(self, prompt: Any, member: int, group: int, trainer: Any) -> _Start:
        row, messages = row_of(prompt), bare(prompt)
        rubric = _criteria(row)
        drawn: tuple[int, ...] = ()
        now: StepRubric | None = None
        if trainer.model.training:
            step, total = batch_of(trainer)
            now = self._live.rubric(row["id"], rubric, step)
            if now is not None:
                rubric = now.shown
            drawn = self._drawn(rubric, row=row["id"], member=member, group=group, step=step, total=total)

        def ids(revealed: Sequence[int]) -> list[int]:
            return self._ids(self._scaffold.messages(messages, rubric, revealed), trainer)

        own = ids(())
        revealed = fitted(drawn, lambda some: len(ids(some)) - len(own), self._room(row["id"], len(own), trainer))
        counted = sum(criterion.worth != 0 for criterion in rubric)
        share = len(revealed) / counted if counted else 0.0
        places = revealed if now is None else tuple(now.kept[place] for place in revealed)
        return _Start(own, ids(revealed), member, places, share, now)

    def _drawn(self, rubric: Sequence[wire.Criterion], *, row: str, **place: int) -> tuple[int, ...]:
        weights = self._live.weights(row, rubric)
        if weights is None:
            return self._scaffold.reveal(rubric, row=row, **place)
        return self._scaffold.reveal_by_weight(rubric, weights, row=row, **place)

    def _ids(self, messages: list[Message], trainer: Any) -> list[int]:
        rendered: list[int] = trainer.processing_class.apply_chat_template(
            for_template(messages), add_generation_prompt=True, tokenize=True, return_dict=False, **self._template
        )
        return rendered

    def _room(self, row: str, length: int, trainer: Any) -> float:
        """Tokens that a scaffold may add to a bare prompt of this length. Raises ValueError where not even that leaves
        the answer its room."""
        args = trainer.args
        context = args.vllm_max_model_length if args.use_vllm else None
        context = context or getattr(trainer.model.config, "max_position_embeddings", float("inf"))
        room = context - args.max_completion_length - length
        if room < 0:
            raise ValueError(
                f"row {row}: its prompt has {length} tokens and an answer may have {args.max_completion_length}, "
                f"but the context ends at {context}; leave the row out or lower max_completion_length"
            )
        return float(room if self._tokens is None else min(room, self._tokens))


def _criteria(row: Mapping[str, Any]) -> list[wire.Criterion]:
    return wire.Rubric.model_validate(row["rubric"]).criteria if row["rubric"] else []


def batch_of(trainer: Any) -> tuple[int, int]:
    """The number of the batch of rollouts that is made now, from 1, and of all batches. The paper's schedule counts
    them, and TRL counts optimiser steps, of which a batch may have several."""
    args, passes = trainer.args, trainer.args.gradient_accumulation_steps
    a_batch = args.steps_per_generation * trainer.num_iterations
    return trainer.state.global_step * passes // a_batch + 1, max(trainer.state.max_steps * passes // a_batch, 1)


def _parts(length: int, count: int) -> list[slice]:
    """`count` slices of nearly one size, in order; of a shorter list fewer, for none may be empty."""
    count = min(count, length)
    return [slice(length * n // count, length * (n + 1) // count) for n in range(count)]

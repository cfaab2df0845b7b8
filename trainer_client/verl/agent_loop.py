"""Runs scaffolded rollouts in verl: it generates from the prompt with the scaffold and trains on the bare one.

A ratio's numerator is of the prompt that is returned. Its denominator is what verl calculates of that prompt, or with
`bare/scaffold` what the sampler said of the scaffolded one.

Guarantees: a rollout's member, group, step and row come from verl alone, so that workers and restarts agree. Rows of
split `val` are generated from the bare prompt. No prompt is cut, and a scaffold takes no tokens from the answer's.
With `bare/bare` no value of the sampler, which would correct for the difference, reaches the trainer.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from uuid import uuid4

from trainer_client import wire
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.step_rubric import StepRubric, step_rubric
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.scaffold import Message, Scaffold, fitted, for_template, placed
from trainer_client.verl.evolving import Place, VerlEvolving
from trainer_client.verl.rows import PromptRow, prompt_row

try:
    from verl.experimental.agent_loop import AgentLoopBase, AgentLoopOutput
except ImportError as missing:
    raise ImportError(
        f"rubricd's agent loop runs inside verl 0.9, which cannot be imported ({missing}): "
        "pip install 'verl[vllm]==0.9.*' in the environment of the training"
    ) from missing

Ratio = Literal["bare/bare", "scaffold/scaffold", "bare/scaffold"]
"""The prompts of the importance ratio's numerator and denominator. The first is the paper's algorithm, the last the
unbiased ratio."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """Token ids without and with the scaffold, and the criteria that it reveals."""

    bare: list[int]
    scaffolded: list[int]
    revealed: tuple[int, ...]


class ScaffoldAgentLoop(AgentLoopBase):  # type: ignore[misc]
    """verl makes one for each rollout, from the file of `rollout.agent.agent_loop_config_path`; the row's `agent_name`
    chooses it. The file holds `scaffold`, `ratio` and `dropout`."""

    def __init__(
        self,
        *args: Any,
        scaffold: Scaffold | None = None,
        ratio: Ratio = "bare/bare",
        dropout: RubricDropout | None = None,
        evolving: VerlEvolving | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._dropout, self._evolving = dropout, evolving
        self._scaffold = scaffold or Scaffold()
        if self._scaffold.choose == "unlearnt":
            raise ValueError("in verl no rollout knows what other groups were judged: set the scaffold's choose=evenly")
        self._ratio = ratio
        self._answers = PolicyAnswers("remove", self.tokenizer, self.apply_chat_template_kwargs)
        _check(self.config, ratio)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Makes one rollout of one row. Raises ValueError for a prompt that does not fit and for a trainer that does
        not pass the member and the step, DataError for a row that is not rubricd's; verl then fails the rollout."""
        own = prompt_row(kwargs["extra_info"])
        # Not `raw_prompt`, whose column has no calls of tools.
        messages = list(own.row.messages)
        now = await asyncio.to_thread(rubric_now, own, self._dropout, kwargs, self._evolving)
        criteria = now.shown if now else []
        drawn = self._drawn(own, criteria, kwargs)
        prompt = await asyncio.to_thread(self._prompt, messages, criteria, drawn, own.row.id)
        started = time.monotonic()
        made = await self.server_manager.generate(
            request_id=uuid4().hex,
            prompt_ids=prompt.scaffolded,
            sampling_params=sampling_params,
            priority=int(kwargs.get("priority", 0)),
        )
        metrics = {"generate_sequences": time.monotonic() - started, "num_preempted": _or(made.num_preempted, -1)}
        same, sampled = self._ratio == "scaffold/scaffold", self._ratio != "bare/bare"
        if self._ratio == "bare/scaffold" and not made.log_probs:
            raise ValueError("ratio bare/scaffold: verl's server gave no log-probabilities of its tokens")
        length = self.rollout_config.response_length
        split = self._answers.split(await asyncio.to_thread(self._answers.decode, made.token_ids[:length]))
        return AgentLoopOutput(
            prompt_ids=prompt.scaffolded if same else prompt.bare,
            response_ids=made.token_ids[:length],
            response_mask=[1] * len(made.token_ids[:length]),
            response_logprobs=made.log_probs[:length] if sampled and made.log_probs else None,
            multi_modal_data={},
            num_turns=2,
            metrics=metrics,
            extra_fields={
                **made.extra_fields,
                "turn_scores": [],
                "tool_rewards": [],
                "answer": split.answer,
                "reasoning_ended": split.ended,
                "revealed": len(prompt.revealed),
                "criteria": len(criteria),
                "revealed_share": len(prompt.revealed) / max(sum(one.worth != 0 for one in criteria), 1),
                **handed_on(now, self._evolving, kwargs, int(self.rollout_config.n)),
            },
        )

    def _drawn(self, own: PromptRow, criteria: Sequence[wire.Criterion], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
        if own.split != "train":
            return ()
        _check_place(kwargs)
        return self._scaffold.reveal(
            criteria,
            row=own.row.id,
            member=int(kwargs["session_id"]),
            group=int(self.rollout_config.n),
            step=int(kwargs["global_steps"]),
            total=total_steps(self.config),
        )

    def _prompt(
        self, messages: list[Message], criteria: Sequence[wire.Criterion], drawn: tuple[int, ...], row: str
    ) -> _Prompt:
        most = int(self.rollout_config.prompt_length)

        def render(turns: Sequence[Message]) -> list[int]:
            # Not `ct_build_initial_tokens`, which cuts a prompt that is too long from the left.
            return list(self.continuous_token_builder.build_initial_tokens(for_template(turns)))

        scaffold = placed(self._scaffold, lambda turns: self.tokenizer.decode(render(turns))) if drawn else None

        def ids(revealed: Sequence[int]) -> list[int]:
            return render(scaffold.messages(messages, criteria, revealed) if scaffold else messages)

        own = ids(())
        if len(own) > most:
            raise ValueError(
                f"row {row}: its prompt has {len(own)} tokens, rollout.prompt_length is {most}; raise it, or leave "
                "such rows out with data.max_prompt_length and data.filter_overlong_prompts=True"
            )
        whole = ids(drawn)
        if len(whole) <= most:
            return _Prompt(own, whole, drawn)
        revealed = fitted(drawn, lambda some: len(ids(some)), most)
        return _Prompt(own, ids(revealed), revealed)


def rubric_now(
    own: PromptRow, dropout: RubricDropout | None, kwargs: Mapping[str, Any], evolving: VerlEvolving | None = None
) -> StepRubric | None:
    """The row's rubric at this step; None where it has none. Validation has its own rubric. Raises ValueError for a
    trainer that does not pass the step."""
    if own.row.rubric is None:
        return None
    criteria, row = own.row.rubric.criteria, own.row.id
    if (dropout is None and evolving is None) or own.split != "train":
        return step_rubric(criteria, None, row=row, step=0)
    _check_place(kwargs)
    step = int(kwargs["global_steps"])
    if evolving is None:
        return step_rubric(criteria, dropout, row=row, step=step)
    evolved, drift = evolving.shared.before(row, step), evolving.evolution.drift
    return step_rubric(criteria, dropout, row=row, step=step, evolved=evolved, drift=drift)


def handed_on(
    now: StepRubric | None, evolving: VerlEvolving | None, kwargs: Mapping[str, Any], group: int
) -> dict[str, str]:
    """The fields by which the reward function knows the rubric of this rollout: texts, that every sample has."""
    place = ""
    if now is not None and evolving is not None and "session_id" in kwargs and "global_steps" in kwargs:
        step, member = int(kwargs["global_steps"]), int(kwargs["session_id"])
        place = Place(step, member, group, now.evolved).as_json()
    return {"dropped": json.dumps(now.dropped if now else []), "evolving": place}


def _check_place(kwargs: Mapping[str, Any]) -> None:
    if "session_id" not in kwargs or "global_steps" not in kwargs:
        raise ValueError(
            "verl did not pass this rollout its member and step, as verl 0.9's V1 trainer does: set trainer.use_v1=True"
        )


def total_steps(config: Any) -> int:
    """The steps of the whole training. Raises ValueError where verl's configuration has none."""
    steps = config.trainer.get("total_training_steps")
    if steps:
        return int(steps)
    # verl fills in the optimizer's updates before the workers start; asynchronous modes have several in a step.
    updates = config.actor_rollout_ref.actor.optim.get("total_training_steps") or 0
    mode = config.trainer.v1.get(config.trainer.v1.trainer_mode) or {}
    total = int(updates) // int(mode.get("parameter_sync_step", 1))
    if total < 1:
        raise ValueError("the schedule needs the number of steps: set trainer.total_training_steps")
    return total


def _check(config: Any, ratio: Ratio) -> None:
    """Raises ValueError for settings under which verl would train on another ratio than `ratio`, or fail late."""
    if ratio not in get_args(Ratio):
        raise ValueError(f"ratio is one of {', '.join(get_args(Ratio))}, not {ratio!r}")
    rollout, correction = config.actor_rollout_ref.rollout, config.algorithm.get("rollout_correction") or {}
    sampled = ratio == "bare/scaffold"
    # In mode `bypass` verl's trainer takes the sampler's log-probabilities for the old ones, and calculates none.
    sampler = {
        f"actor_rollout_ref.rollout.calculate_log_probs={sampled}": rollout.get("calculate_log_probs") != sampled,
        "algorithm.rollout_correction.rollout_is=null": correction.get("rollout_is"),
        "algorithm.rollout_correction.rollout_rs=null": correction.get("rollout_rs"),
        f"algorithm.rollout_correction.bypass_mode={sampled}": bool(correction.get("bypass_mode")) != sampled,
    }
    # Routes belong to token positions, and this loop returns none.
    routes = "actor_rollout_ref.rollout.enable_rollout_routing_replay=False"
    differs = ratio != "scaffold/scaffold"
    wrong = {**(sampler if differs else {}), routes: rollout.get("enable_rollout_routing_replay")}
    if needed := [setting for setting, found in wrong.items() if found]:
        why = (
            "verl must take the sampler's log-probabilities for the old ones, and correct nothing by them"
            if sampled
            else "the sampler's values belong to its own prompt and not to the one that is trained on"
        )
        raise ValueError(f"ratio {ratio}: {why}; set {', '.join(needed)}")
    check_trainer(config)


def check_trainer(config: Any) -> None:
    """Raises ValueError for settings that verl's trainer would not heed, or fail of late."""
    if config.trainer.get("use_v1") and config.algorithm.get("adv_estimator") == "gdpo":
        raise ValueError(
            "verl's V1 trainer gives its advantages the score alone, and GDPO would find no parts of it: set "
            "algorithm.adv_estimator=grpo, or without a scaffold trainer.use_v1=False"
        )
    sampler = config.trainer.v1.sampler
    own = sampler.get("custom_sampler") or {}
    if own.get("name") != "PairedGroups":
        return
    filtered = config.algorithm.get("filter_groups") or {}
    settings = {
        "algorithm.filter_groups.enable=False": filtered.get("enable"),
        "trainer.v1.sampler.sync_refill_failed_groups=False": sampler.get("sync_refill_failed_groups"),
    }
    if needed := [setting for setting, found in settings.items() if found]:
        raise ValueError(
            f"verl filters and refills groups in its own sampler, and rubricd's PairedGroups does neither: set "
            f"{', '.join(needed)}, or use verl's sampler with trainer.v1.sampler.custom_sampler.path=null"
        )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value

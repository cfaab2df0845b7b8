"""Builds TRL's GRPOTrainer for scaffolded GRPO with rewards from a judge service.

Guarantees: rollouts come from the scaffolded prompt and the gradient is taken on the bare one, unless another ratio is
chosen by name. The private methods of TRL that this relies on are checked before a run begins, or when they are used.
"""

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from huggingface_hub import constants
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig
from trainer_client.reward_parts import By
from trainer_client.scaffold import Message, Ratio, Scaffold, for_template, placed
from trainer_client.trl import parts
from trainer_client.trl.config import grpo_config
from trainer_client.trl.live_rubrics import Evolving, LiveRubrics, LiveState
from trainer_client.trl.prompt_row import Row, with_row
from trainer_client.trl.reward import EXAMINER, JudgeReward, TooFewJudged
from trainer_client.trl.rollouts import Rollouts
from trainer_client.trl.rubric_trainer import Kl, RubricTrainer

__all__ = ["JudgeConfig", "JudgeReward", "Rollouts", "TooFewJudged", "build", "dataset", "grpo_config"]

_TURN = ["prompt_ids", "images", "multimodal_fields", "num_generations"]


def dataset(rows: Sequence[Row]) -> Dataset:
    """The rows in their order; a prompt's last message holds its row with the rubric."""
    return Dataset.from_list([{"prompt": with_row(row)} for row in rows])


def check_engine() -> None:
    """Raises RuntimeError where TRL's private method that generates has another signature than the tested one."""
    found = list(inspect.signature(GRPOTrainer._generate_single_turn).parameters)
    if found[1:5] != _TURN:
        raise RuntimeError(
            "this version of TRL generates in another way than the one rubricd supports: install trl>=1.14.2,<2 "
            f"(its _generate_single_turn takes {', '.join(found[1:])})"
        )


def check_texts(rows: Sequence[Row], tokenizer: Any) -> None:
    """Raises ValueError where a row's text holds a control token of the policy.

    Chat templates are filled in as text, so that a criterion could end its turn and begin another.
    """
    control = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    pattern = re.compile("|".join(map(re.escape, control)) or r"\Z.")
    for row in {row.id: row for row in rows}.values():
        criteria = [] if row.rubric is None else row.rubric.criteria
        texts = [*(message["content"] for message in row.messages), *(criterion.text for criterion in criteria)]
        if found := next(filter(None, map(pattern.search, texts)), None):
            raise ValueError(
                f"row {row.id}: its text holds {found[0]}, which the policy would read as a control token; remove it "
                "or leave the row out"
            )


def check_waits(judging: JudgeConfig, config: GRPOConfig) -> None:
    """Raises ValueError where a process may wait for its judge longer than the others wait for it."""
    if config.world_size > 1 and judging.judge_timeout_s >= config.ddp_timeout:
        raise ValueError(
            f"judge_timeout_s ({judging.judge_timeout_s:g}) must be below trl.ddp_timeout ({config.ddp_timeout:g}): "
            "the other processes wait for the one that waits for its judge"
        )


def rendered(tokenizer: Any, messages: Sequence[Message], template: Mapping[str, Any]) -> str:
    """The messages as the policy's template writes them."""
    told: str = tokenizer.apply_chat_template(
        for_template(messages), add_generation_prompt=True, tokenize=False, **template
    )
    return told


class BareOverScaffold(RubricTrainer):
    """Uses the unbiased importance ratio, pi(bare) over the pi(scaffolded) that sampled. It is another algorithm than
    the paper's, which found it to be worse (table 9)."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        device = output["completion_ids"].device
        ids = [torch.tensor(one, device=device) for one in self.rollout_func.generated_from]
        prompt_ids = pad(ids, padding_value=self._tokenizer.pad_token_id, padding_side="left")
        prompt_mask = pad([torch.ones_like(one) for one in ids], padding_value=0, padding_side="left")
        with torch.no_grad():
            output["old_per_token_logps"], _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([prompt_ids, output["completion_ids"]], dim=1),
                torch.cat([prompt_mask, output["completion_mask"]], dim=1),
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return output


def build(
    policy: str,
    rows: Sequence[Row],
    *,
    judging: JudgeConfig,
    examining: JudgeConfig | None = None,
    config: GRPOConfig,
    scaffold: Scaffold,
    ratio: Ratio = "bare/bare",
    tokens: int | None = None,
    pipeline_parts: int = 1,
    template: Mapping[str, Any] | None = None,
    eval_rows: Sequence[Row] = (),
    lora: Any = None,
    by: By = "total",
    beside: Sequence[parts.Beside] = (),
    kl: Kl = "clamped",
    dropout: RubricDropout | None = None,
    evolving: Evolving | None = None,
    callbacks: Sequence[Any] = (),
) -> RubricTrainer:
    """Returns a trainer over `rows`, which are in the order of training; `.train()` and
    `.train(resume_from_checkpoint=…)` are TRL's. `policy` is a folder or a hub name, `lora` a peft configuration.
    `examining` is a second judge of the held-out rows, who gives no rewards: its metrics begin with `examiner/`.
    `kl` is TRL's k3 term with the bounds of the paper's code (`clamped`), or without them (`plain`). `dropout` leaves
    criteria out of each group's reward, and `evolving` adds criteria that are proposed from its answers. Raises
    RuntimeError for another TRL, ValueError for rows or settings that do not fit."""
    check_engine()
    constants.HF_HUB_DISABLE_TELEMETRY = True  # TRL reports every training to its authors.
    tokenizer = AutoTokenizer.from_pretrained(policy, padding_side="left")
    check_texts([*rows, *eval_rows], tokenizer)
    check_waits(judging, config)
    if tokenizer.chat_template is None:
        raise ValueError(f"the policy {policy} has no chat template; put a chat_template.jinja beside its tokenizer")
    scaffold = placed(scaffold, lambda messages: rendered(tokenizer, messages, template or {}))
    judge, functions, settings = parts.functions(
        [*rows, *eval_rows], judging, by=by, beside=beside, ends=[tokenizer.eos_token_id]
    )
    judge.read_with(PolicyAnswers(judging.reasoning, tokenizer, template))
    if examining is not None:
        examiner = JudgeReward(examining, ends=[tokenizer.eos_token_id], name=EXAMINER)
        examiner.read_with(PolicyAnswers(examining.reasoning, tokenizer, template))
        judge.examined_by(examiner)
    for name, value in settings.items():
        setattr(config, name, value)
    live = LiveRubrics(dropout, evolving, pass_rates=scaffold.choose == "unlearnt")
    if live.stateful:
        judge.heard_by(live.hear)
        callbacks = [*callbacks, LiveState(live)]
    rollouts = Rollouts(
        scaffold,
        ratio=ratio,
        tokens=tokens,
        judge=judge,
        pipeline_parts=pipeline_parts,
        template=template,
        live=live,
    )
    kind = BareOverScaffold if ratio == "bare/scaffold" else RubricTrainer
    with warnings.catch_warnings():
        # TRL warns that the hook is experimental; `check_engine` guards against a change of it.
        warnings.filterwarnings("ignore", message=r"You are using 'rollout_func'", category=UserWarning)
        trainer = kind(
            model=policy,
            args=config,
            reward_funcs=functions,
            processing_class=tokenizer,
            rollout_func=rollouts,
            train_dataset=dataset(rows),
            eval_dataset=dataset(eval_rows) if eval_rows else None,
            peft_config=lora,
            callbacks=list(callbacks),
            kl=kl,
        )
    # A model may have several end tokens, and its tokenizer's own need not be one that it writes. These are the ones by
    # which TRL counts `completions/clipped_ratio`.
    judge.end_at([*trainer.eos_token_ids, tokenizer.pad_token_id])
    return trainer

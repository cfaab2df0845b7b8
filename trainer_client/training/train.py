"""Runs a planned training with TRL's GRPOTrainer: it joins run config, rows, judge and trainer.

Guarantees: the plan decides the rows, their order and the judge; TRL's trainer decides the rest. A trainer that cannot
be built leaves no folder behind.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainer_client.endpoint import ChatEndpoint
from trainer_client.errors import RubricdClientError
from trainer_client.live_rubrics.evolution import Evolution
from trainer_client.live_rubrics.proposer import EndpointProposer, FunctionProposer, Proposer
from trainer_client.training import model_card
from trainer_client.training.policy_check import Checked, one_line
from trainer_client.training.preflight import Plan
from trainer_client.training.run.config import RunConfigError
from trainer_client.training.run.folder import JOURNAL, RUBRICS
from trainer_client.training.run.sections import ProposerSection


def trainer_of(plan: Plan, checked: Checked) -> Any:
    """Returns TRL's trainer with the policy loaded, ready to train. Raises RunConfigError."""
    from transformers.trainer_callback import ProgressCallback

    from trainer_client.training.callbacks import MetricsFile, OwnIntervals, ProgressLine, UpdateWatch
    from trainer_client.training.reward_watch import RewardWatch
    from trainer_client.trl.trainer import build

    run, config = plan.run, checked.config
    watch = RewardWatch(plan.out, run.watch.stop, run.watch.false_alarms, run.updates)
    with _nothing_left(plan.out):
        trainer = build(
            run.policy,
            plan.order,
            judging=plan.judging,
            examining=plan.examining,
            config=config,
            scaffold=run.scaffolding(),
            ratio=run.ratio,
            tokens=run.scaffold.tokens,
            pipeline_parts=run.pipeline_parts,
            template=config.chat_template_kwargs,
            eval_rows=plan.eval_rows,
            lora=_lora(plan),
            by=run.rewards.by,
            beside=checked.beside,
            kl=run.kl,
            dropout=run.dropout(),
            evolving=_evolving(plan, checked),
            callbacks=[MetricsFile(plan.out / "metrics.jsonl"), OwnIntervals(), UpdateWatch(), watch],
        )
    spare_the_terminal()
    # TRL's own card names no policy that is a folder.
    trainer.create_model_card = lambda *_, **__: _write_card(plan, trainer, plan.out)
    if not config.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(ProgressLine(run.updates))
    trainer.reward_watch = watch
    return trainer


def spare_the_terminal() -> None:
    """Keeps TRL from printing every rollout without a reward, with its prompt and its rubric. The progress line counts
    them, and the tables of completions say why each has none."""
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(_says_more_than_the_tables)


def _says_more_than_the_tables(record: logging.LogRecord) -> bool:
    return "All reward functions returned None" not in record.getMessage()


@contextmanager
def _nothing_left(out: Path) -> Iterator[None]:
    """Removes the folder that TRL has made, where it holds nothing, and tells any error in one line: whatever the
    libraries below refuse here is a mistake in the run config or in the policy."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except BaseException as error:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, RunConfigError | RubricdClientError) or not isinstance(error, Exception):
            raise
        raise RunConfigError(f"the training cannot begin: {type(error).__name__}: {one_line(error)}") from error


class StoppedByAlarm(Exception):
    """An alarm about the rewards ended the training, and its checkpoint is saved. It says which."""


def train(plan: Plan, trainer: Any) -> None:
    """Trains to the end, from the plan's checkpoint if it has one, and saves the policy. Raises StoppedByAlarm."""
    from trainer_client.training.reward_watch import sentence

    trainer.train(resume_from_checkpoint=None if plan.checkpoint is None else str(plan.checkpoint))
    watch = trainer.reward_watch
    if watch.stopped:
        raise StoppedByAlarm("" if watch.stopped_by is None else sentence(watch.stopped_by, plan.run.updates))
    trainer.save_model(str(plan.out / "policy"))
    _write_card(plan, trainer, plan.out / "policy")


def _write_card(plan: Plan, trainer: Any, folder: Path) -> None:
    if trainer.is_world_process_zero():
        model_card.write(folder, plan.out, plan.run, plan.steps)


def _evolving(plan: Plan, checked: Checked) -> Any:
    part = plan.run.evolving
    if part is None:
        return None
    from trainer_client.trl.live_rubrics import Evolving

    evolution = Evolution(part.every, part.propose, part.active, part.drift, part.promote)
    return Evolving(evolution, _proposer(part.proposer, checked), plan.out / JOURNAL, plan.out / RUBRICS)


def _proposer(part: ProposerSection, checked: Checked) -> Proposer:
    if part.url is None or part.model is None:
        return FunctionProposer(Path(str(part.call)).name, checked.proposer)
    key = os.environ.get(part.token_env) or None
    endpoint = ChatEndpoint(part.url, part.model, key=key, concurrency=part.concurrency, timeout_s=part.timeout_s)
    return EndpointProposer(
        endpoint, temperature=part.temperature, max_tokens=part.max_tokens, timeout_s=part.timeout_s
    )


def _lora(plan: Plan) -> Any:
    part = plan.run.lora
    if part is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=part.r,
        lora_alpha=part.alpha,
        lora_dropout=part.dropout,
        target_modules=part.target_modules,
        task_type="CAUSAL_LM",
    )

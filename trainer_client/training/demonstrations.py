"""Trains a policy on demonstrations, the reference answers of its rows, before or in place of a training on rewards.

It is the baseline SFT, and with a training on rewards after it SFT+RL: TRL's SFTTrainer on the prompt that the policy
is asked with, the loss on the answer alone.

Guarantees: a row without an answer ends it before anything is trained. The folder of its policy is there whole or not
at all, so that a run that was killed meanwhile begins this stage again, and one that was killed later does not.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_client.data.reader import Law
from trainer_client.data.rows import Row, placed_rows
from trainer_client.errors import DataError
from trainer_client.rubric_folder import RubricFolder
from trainer_client.training.preflight import Plan, Processes
from trainer_client.training.run.config import RunConfig, RunConfigError
from trainer_client.training.run.sections import SftSection

FOLDER = "sft"


def demonstrations(run: RunConfig) -> list[Row]:
    """The rows whose reference answers are learnt. Raises DataError for a row without one, RunConfigError where a run
    cannot have this stage."""
    part = run.sft
    if part is None:
        return []
    if run.lora is not None:
        raise RunConfigError("`sft` trains all weights: leave `lora` out, or train an adapter on rewards alone")
    if Processes.of(os.environ).count > 1:
        raise RunConfigError(
            "`sft` runs in one process: run it alone with `sft.only: true`, then name its folder `sft` as `policy`"
        )
    stored = None if run.rubric_folder is None else RubricFolder(run.rubric_folder).get
    rows = []
    for place, row in placed_rows(*(part.data or run.data), law=Law(pitfalls=run.pitfalls, stored=stored)):
        if not (row.reference or "").strip():
            raise DataError(
                f"{place}, row {row.id}: has no reference answer to learn from; leave the row out, or name other rows "
                "with `sft.data`"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{', '.join(part.data or run.data)}: holds no rows")
    return rows


def trained(plan: Plan, rows: Sequence[Row], config: Any) -> Plan:
    """The plan with the policy that has learnt them. `config` is that of the training on rewards, for what both share.
    Raises RunConfigError."""
    part, done = plan.run.sft, plan.out / FOLDER
    if part is None:
        return plan
    if not done.is_dir():
        try:
            _train(plan, part, rows, config, done)
        except Exception as error:  # of any library below
            told = " ".join(str(error).split())
            raise RunConfigError(f"the training on answers ended by {type(error).__name__}: {told}") from error
    return replace(plan, run=plan.run.model_copy(update={"policy": str(done)}))


def _train(plan: Plan, part: SftSection, rows: Sequence[Row], config: Any, done: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from transformers.trainer_callback import ProgressCallback
    from trl import SFTTrainer

    from trainer_client.training.callbacks import MetricsFile, ProgressLine

    template = config.chat_template_kwargs or {}
    table = [
        {
            "prompt": [dict(message) for message in row.messages],
            "completion": [{"role": "assistant", "content": row.reference}],
            **({"chat_template_kwargs": template} if template else {}),
        }
        for row in rows
    ]
    unfinished, metrics = plan.out / f"{FOLDER}.part", plan.out / f"{FOLDER}.jsonl"
    shutil.rmtree(unfinished, ignore_errors=True)
    metrics.unlink(missing_ok=True)
    trainer = SFTTrainer(
        model=plan.run.policy,
        args=_config(plan, part, config, unfinished),
        train_dataset=Dataset.from_list(table),
        processing_class=AutoTokenizer.from_pretrained(plan.run.policy, padding_side="left"),
        callbacks=[MetricsFile(metrics)],
    )
    trainer.remove_callback(ProgressCallback)
    if not config.disable_tqdm:
        trainer.add_callback(ProgressLine(1))
    told = f"{len(rows):,} reference answers, {part.epochs:g} epochs, learning rate {part.learning_rate:g}"
    print(f"rubricd: sft: {told}", flush=True)
    trainer.train()
    trainer.save_model(str(unfinished))
    os.replace(unfinished, done)
    losses = [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]
    print(f"rubricd: sft: loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; {done}", flush=True)


def _config(plan: Plan, part: SftSection, config: Any, folder: Path) -> Any:
    from trl import SFTConfig

    each = min(plan.run.per_device, part.batch)
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=part.epochs,
        learning_rate=part.learning_rate,
        per_device_train_batch_size=each,
        gradient_accumulation_steps=part.batch // each,
        max_length=part.max_tokens,
        completion_only_loss=True,
        seed=plan.run.seed,
        logging_steps=1,
        save_strategy="no",
        model_init_kwargs=config.model_init_kwargs,
        **{name: getattr(config, name) for name in _SHARED},
    )


_SHARED = ("use_cpu", "bf16", "fp16", "gradient_checkpointing", "report_to", "disable_tqdm")

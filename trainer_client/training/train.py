"""Runs a planned training with TRL's GRPOTrainer: it joins run config, rows, judge and trainer.

Guarantees: the plan decides the rows, their order and the judge; TRL's trainer decides the rest.
"""

import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any

from trainer_client.data.rows import Row
from trainer_client.errors import DataError
from trainer_client.scaffold import Scaffold, placed
from trainer_client.training.preflight import Plan
from trainer_client.training.run_config import RunConfigError

_NEEDED = ("trl", "peft", "datasets", "accelerate")


def _quiet(plan: Plan) -> None:
    """Switches off TRL's telemetry, unless the environment sets it, and its warnings about the hook that is used on
    purpose and about a vLLM that is not used. It must be called before TRL is imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    if not plan.run.trl.get("use_vllm"):
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM")


def trainer_of(plan: Plan) -> Any:
    """Returns TRL's trainer, ready to train. Raises RunConfigError and DataError before the policy is loaded."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise RunConfigError(f"training needs {', '.join(missing)}: pip install 'rubricd[train]'")
    _quiet(plan)
    from transformers.trainer_callback import ProgressCallback

    from trainer_client.training.callbacks import MetricsFile, ProgressLine
    from trainer_client.trl.trainer import build

    run, config, scaffold = plan.run, _config(plan), plan.run.scaffolding()
    _check_fits(plan, config, scaffold)
    trainer = build(
        run.policy,
        plan.order,
        judging=plan.judging,
        config=config,
        scaffold=scaffold,
        ratio=run.ratio,
        tokens=run.scaffold.tokens,
        pipeline_parts=run.pipeline_parts,
        template=config.chat_template_kwargs,
        eval_rows=plan.eval_rows,
        lora=_lora(plan),
        callbacks=[MetricsFile(plan.out / "metrics.jsonl")],
    )
    if not config.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(ProgressLine)
    return trainer


def train(plan: Plan) -> None:
    """Trains to the end, from the plan's checkpoint if it has one, and saves the policy."""
    trainer = trainer_of(plan)
    trainer.train(resume_from_checkpoint=None if plan.checkpoint is None else str(plan.checkpoint))
    trainer.save_model(str(plan.out / "policy"))


def _config(plan: Plan) -> Any:
    from trainer_client.trl.config import grpo_config

    run, more = plan.run, dict(plan.run.trl)
    more["model_init_kwargs"] = {"dtype": run.dtype, **(more.get("model_init_kwargs") or {})}
    updates = run.prompts_per_batch // run.mini_batch * int(more.get("num_iterations", 1))
    if plan.eval_rows and run.eval_every is not None:
        more = {
            "eval_strategy": "steps",
            "eval_steps": run.eval_every * updates,
            "per_device_eval_batch_size": run.per_device,
            "num_generations_eval": 1,
            **more,
        }
    try:
        return grpo_config(
            plan.out,
            group=run.group,
            prompts_per_batch=run.prompts_per_batch,
            mini_batch=run.mini_batch,
            per_device=run.per_device,
            world=plan.processes.count,
            steps=plan.steps,
            save_every=run.save_every,
            **{"seed": run.seed, **more},
        )
    except (TypeError, ValueError) as error:
        problem = str(error).replace("GRPOConfig.__init__() got an unexpected keyword argument", "`trl`: unknown field")
        raise RunConfigError(problem) from None


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


def _check_fits(plan: Plan, config: Any, scaffold: Scaffold) -> None:
    """Raises DataError for a prompt that leaves too few tokens for its answer; prints how many scaffolds are cut."""
    from transformers import AutoConfig, AutoTokenizer

    from trainer_client.trl.trainer import rendered

    context = config.vllm_max_model_length if config.use_vllm else None
    context = context or getattr(AutoConfig.from_pretrained(plan.run.policy), "max_position_embeddings", None)
    tokenizer = AutoTokenizer.from_pretrained(plan.run.policy)
    if tokenizer.chat_template is None:
        raise RunConfigError(f"`policy`: {plan.run.policy} has no chat template; give its tokenizer one")
    if context is None:
        return
    scaffold = placed(scaffold, lambda turns: rendered(tokenizer, turns, config.chat_template_kwargs or {}))
    scaffolds = scaffold.schedule.over != "none"
    distinct = {row.id: row for row in [*plan.order, *plan.eval_rows]}
    cut = 0
    for row in distinct.values():
        bare, whole = _lengths(tokenizer, config.chat_template_kwargs or {}, row, scaffold)
        room = context - config.max_completion_length - bare
        if room < 0:
            raise DataError(
                f"row {row.id}: its prompt has {bare} tokens and an answer may have {config.max_completion_length}, "
                f"but the policy's context ends at {context}; leave the row out or set trl.max_completion_length"
            )
        most = room if plan.run.scaffold.tokens is None else min(room, plan.run.scaffold.tokens)
        cut += whole - bare > most
    if scaffolds and cut and plan.processes.first:
        print(f"rubricd: the rubrics of {cut} of {len(distinct)} rows do not fit; a part of their criteria is revealed")


def _lengths(tokenizer: Any, template: Any, row: Row, scaffold: Scaffold) -> tuple[int, int]:
    """Tokens of a row's prompt: bare, and with every counted criterion revealed."""
    criteria = row.rubric.criteria if row.rubric else []
    counted: Sequence[int] = [place for place, criterion in enumerate(criteria) if criterion.worth != 0]
    everything = counted if scaffold.schedule.over != "none" else ()
    scaffolded = scaffold.messages(row.messages, criteria, everything)
    prompts = (list(row.messages), scaffolded)
    bare, whole = (
        len(tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=False, **template))
        for one in prompts
    )
    return bare, whole

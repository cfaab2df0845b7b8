"""Trains a judge with transformers' Trainer on packed prompts, and reads P(met) from it.

The loss is the cross-entropy of the label's token over the whole vocabulary, at the place where the service reads it:
so the judge learns both to prefer the right label and to answer with a label at all.

Guarantees: the tokens of prompts are not learned. The weights that are kept are those with the lowest log loss on the
held-out rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, EarlyStoppingCallback, Trainer, TrainingArguments

from trainer_client.distillation.examples import class_weights
from trainer_client.distillation.packing import Row

_CRITERIA_PER_STEP = 16
_EVALUATIONS_PER_EPOCH = 2
_PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `lora` is the adapter's rank; without one all weights are trained."""

    epochs: float
    learning_rate: float
    lora: int | None
    seed: int


class RowSet(torch.utils.data.Dataset[Row]):
    """Rows as torch wants them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Row:
        return self._rows[place]


class Collator:
    """One row as the model's inputs. `labels` are (K, 2): the target of each label, times its class's weight."""

    def __init__(self, weights: tuple[float, float], packed: bool) -> None:
        self._weights = weights
        self._packed = packed

    def __call__(self, some: Sequence[Row]) -> dict[str, torch.Tensor]:
        (row,) = some
        target = torch.tensor([[one.target, 1 - one.target] for one in row.examples])
        inputs = {
            "input_ids": torch.from_numpy(row.ids)[None],
            "position_ids": torch.from_numpy(row.positions)[None],
            "logits_to_keep": torch.from_numpy(row.ends),
            "labels": target * torch.tensor(self._weights),
        }
        if self._packed:
            inputs["attention_mask"] = torch.from_numpy(row.mask())[None, None]
        return inputs


class JudgeTrainer(Trainer):
    """transformers' Trainer with the loss of a judge. `label_ids` are the tokens that mean met and not met."""

    def __init__(self, *, label_ids: tuple[int, int], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._label_tokens = list(label_ids)
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the row's criteria. The output is (K, 2): the labels' log-probabilities."""
        weights = inputs.pop("labels")
        logits = model(**inputs, use_cache=False).logits[0].float()
        logprobs = logits.log_softmax(-1)[:, self._label_tokens]
        loss = -(weights * logprobs).sum() / len(weights)
        return (loss, logprobs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        inputs = self._prepare_inputs(inputs)
        targets = inputs["labels"]
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, logprobs = self.compute_loss(model, inputs, return_outputs=True)
        return loss, logprobs, targets


@dataclass(frozen=True, slots=True)
class Predictions:
    """P(met) and the label mass of each example of some rows, in their order: (K,)."""

    p: np.ndarray
    label_mass: np.ndarray


def can_be_packed(base: str) -> bool:
    """Whether the model attends to everything before a token in every layer, so that a mask decides what it sees."""
    config = AutoConfig.from_pretrained(base)
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return layers == {"full_attention"} and not getattr(config, "sliding_window", None)


def load(base: str, lora: int | None) -> tuple[Any, torch.dtype]:
    """The model and the dtype that its files have. What is trained is in float32: all weights, or the adapter beside
    weights that stay as they are."""
    stored = AutoConfig.from_pretrained(base).dtype or torch.bfloat16
    dtype = torch.float32 if lora is None else stored
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, attn_implementation="sdpa")
    if lora is not None:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=lora, lora_alpha=2 * lora, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    return model, stored


def trainer(
    model: Any,
    learned: Sequence[Row],
    held_out: Sequence[Row],
    *,
    label_ids: tuple[int, int],
    recipe: Recipe,
    folder: Path,
    packed: bool,
) -> JudgeTrainer:
    """A trainer that keeps checkpoints in `folder`."""
    criteria = [len(row.examples) for row in learned]
    accumulated = max(round(_CRITERIA_PER_STEP / (sum(criteria) / len(criteria))), 1)
    whole = math.ceil(math.ceil(len(learned) / accumulated) * recipe.epochs)
    # So that the last steps are evaluated, too.
    steps = max(whole // max(round(recipe.epochs * _EVALUATIONS_PER_EPOCH), 1), 1)
    weights = class_weights([one for row in learned for one in row.examples])
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.06,
        weight_decay=0.01,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulated,
        bf16=computes_bfloat16(),
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=steps,
        save_steps=steps,
        logging_steps=max(steps // 4, 1),
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_log_loss",
        greater_is_better=False,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
    )
    return JudgeTrainer(
        label_ids=label_ids,
        model=model,
        args=arguments,
        train_dataset=RowSet(learned),
        eval_dataset=RowSet(held_out),
        data_collator=Collator(weights, packed),
        compute_metrics=_metrics(weights),
        callbacks=[EarlyStoppingCallback(_PATIENCE)],
    )


def predict(of: JudgeTrainer, rows: Sequence[Row]) -> Predictions:
    """What the model as it is now says of the rows' examples."""
    return _read(np.asarray(of.predict(RowSet(rows)).predictions))


def _read(logprobs: np.ndarray) -> Predictions:
    met, unmet = np.float64(logprobs[:, 0]), np.float64(logprobs[:, 1])
    return Predictions(1 / (1 + np.exp(np.clip(unmet - met, -700, 700))), np.exp(met) + np.exp(unmet))


def _metrics(weights: tuple[float, float]) -> Any:
    def metrics(evaluated: Any) -> dict[str, float]:
        found = _read(evaluated.predictions)
        targets = evaluated.label_ids[:, 0] / weights[0]
        return {"log_loss": log_loss(found.p, targets), "label_mass": float(found.label_mass.mean())}

    return metrics


def log_loss(p: np.ndarray, targets: np.ndarray) -> float:
    """The mean cross-entropy of P(met) (K,) with the targets (K,), in nats."""
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())


def save(model: Any, dtype: torch.dtype, folder: Path) -> None:
    """Writes the whole model, an adapter merged into it, with the dtype of its base."""
    # In float32, so that the adapter is rounded once.
    merged = model.float().merge_and_unload() if hasattr(model, "merge_and_unload") else model
    merged.to(dtype).save_pretrained(folder)


def computes_bfloat16() -> bool:
    """Whether bfloat16 is fast here: on such a CPU a step takes half the time, with the weights in float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.12 has none
    return bool(capabilities.get("avx512_bf16"))

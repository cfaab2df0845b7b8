"""Adds to TRL's GRPOTrainer the paper's bounded KL term, tables of held-out rollouts, and figures about both.

TRL's k3 term, exp(r) - r - 1 with r = ref - logp, has no bound. A rollout that was generated under a scaffold has
tokens that the bare policy hardly ever writes, of which a single one can reach 1e9 and take the whole update. The
paper's code (verl's `low_var_kl`) bounds r to +-20 and the term to 10; beyond that a token has no KL gradient.

Guarantees: with `clamped` the loss is verl's. A table of training rollouts holds no held-out ones.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from trl import GRPOTrainer

from trainer_client.trl.group_measures import measures

Kl = Literal["clamped", "plain"]
LOWEST, HIGHEST = -10.999983298020256, 2.610868638149876
"""The log-ratios at which exp(r) - r - 1 is 10, so that they also keep verl's bounds of +-20."""
_OVERFLOW = 80.0


def bounded(reference: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
    """The reference's log-probabilities as k3 must read them so that it is at most 10, and without a gradient there."""
    ratio = reference - logps
    inside = (ratio > LOWEST) & (ratio < HIGHEST)
    # Beyond the bounds it moves with `logps`: the difference is a constant, and its gradient 0.
    return torch.where(inside, reference, logps + ratio.detach().clamp(LOWEST, HIGHEST))


class RubricTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer with `kl`: `clamped` as in the paper's code, or `plain`, TRL's own."""

    def __init__(self, *args: Any, kl: Kl = "clamped", **more: Any) -> None:
        self._kl = kl
        self._loss_inputs: dict[str, Any] | None = None
        self._held_out: dict[str, Any] | None = None
        self._logs: dict[str, Any]
        self.log_completions: bool
        super().__init__(*args, **more)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if self.beta == 0.0:
            unbounded: torch.Tensor = super()._compute_loss(model, inputs)
            return unbounded
        self._loss_inputs = own = dict(inputs)
        loss: torch.Tensor = super()._compute_loss(model, own)
        if self._loss_inputs is not None:
            raise RuntimeError("this version of TRL computes its loss in another way: install trl>=1.14.2,<2")
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **more: Any) -> Any:
        """TRL's loss calls it before it reads the reference's values, which is where they are bounded."""
        found = super()._get_per_token_logps_and_entropies(*args, **more)
        inputs, self._loss_inputs = self._loss_inputs, None
        if inputs is not None:
            reference = inputs["ref_per_token_logps"]
            mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
            self._measure_kl((reference - found[0]).detach().float(), mask.bool())
            if self._kl == "clamped":
                inputs["ref_per_token_logps"] = bounded(reference, found[0])
        return found

    def _measure_kl(self, ratio: torch.Tensor, mask: torch.Tensor) -> None:
        """Logs the largest KL of a token, as TRL would compute it, and the share of tokens beyond the bounds."""
        ratio = ratio.masked_fill(~mask, 0.0)
        largest = (torch.exp(ratio.clamp(max=_OVERFLOW)) - ratio - 1).max()
        beyond = ((ratio > HIGHEST) | (ratio < LOWEST)).sum()
        figures = self.accelerator.gather(torch.stack([largest, beyond.float(), mask.sum().float()])[None])
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["kl/max"].append(figures[:, 0].max().item())
        metrics["kl/beyond_share"].append((figures[:, 1].sum() / figures[:, 2].sum().clamp(min=1)).item())

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        if norm is not None:
            self._metrics["train"]["grad_norm/clipped_share"].append(float(float(norm) > self.args.max_grad_norm))
        return norm

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.model.training or not self.log_completions:
            made: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return made
        # TRL's own logs hold as many rollouts as a training batch has, and mix both kinds.
        self._held_out = self._held_out or _like(self._logs)
        with self._logging_to(self._held_out):
            held_out: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return held_out

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log. The table of held-out rollouts is `completions/held_out_<step>.parquet`."""
        for metrics in self._metrics.values():
            if "kl/max" in metrics:
                metrics["kl/max"] = [max(metrics["kl/max"])]
        if self.model.training:
            for name, value in measures(self._logs["extra"]).items():
                self._metrics["train"][name].append(value)
        if self.model.training or not self.log_completions:
            super().log(logs, start_time)
            return
        held_out, self._held_out = self._held_out, None
        self.log_completions = held_out is not None
        with self._logging_to(held_out or self._logs), self._table_kept(held_out is not None):
            super().log(logs, start_time)
        self.log_completions = True

    @contextmanager
    def _logging_to(self, logs: dict[str, Any]) -> Iterator[None]:
        before, self._logs = self._logs, logs
        try:
            yield
        finally:
            self._logs = before

    @contextmanager
    def _table_kept(self, written: bool) -> Iterator[None]:
        """Gives the table that TRL writes now a name of its own: it has that of the training's table of this step."""
        folder, name = Path(self.args.output_dir, "completions"), f"{self.state.global_step:05d}.parquet"
        table, aside = folder / f"completions_{name}", folder / f"completions_{name}.aside"
        if not (written and self.accelerator.is_main_process):
            yield
            return
        if table.exists():
            table.replace(aside)
        yield
        table.replace(folder / f"held_out_{name}")
        if aside.exists():
            aside.replace(table)


def _like(logs: dict[str, Any]) -> dict[str, Any]:
    """Empty logs of the same kind, without a limit."""
    return {name: defaultdict(deque) if isinstance(one, dict) else deque() for name, one in logs.items()}

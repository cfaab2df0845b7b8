"""A policy of a few thousand weights, rows for it, a judge that says what a test wants, and a trainer that records."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from testkit.scripted_judge import Json, Service, answered, scores, served
from testkit.tiny_policy import save_policy as save_policy
from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.trl.trainer import build, grpo_config

GROUP = 4
EVEN = Scaffold(Schedule(over="constant"))
"""Full, then less within the group, and the same all through training."""
Verdict = Callable[[str], float | None]
QUIET: dict[str, Any] = {
    "report_to": [],
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "log_completions": False,
    "max_completion_length": 6,
    "use_cpu": True,
    "bf16": False,
}


def rows(count: int, criteria: int = 3) -> list[Row]:
    """Prompts of different lengths; all points are positive but the last one's."""
    return [_row(n, criteria) for n in range(count)]


def _row(n: int, criteria: int) -> Row:
    text = f"My knee hurts{' very much' * (n % 3)}. What should I do in case {n}?"
    made = [
        wire.Criterion(id=f"c{k}", text=f"Says what to do about {k} of {n}.", points=-2.0 if k == criteria - 1 else 5.0)
        for k in range(criteria)
    ]
    return Row(f"row-{n}", ({"role": "user", "content": text},), wire.Rubric(criteria=made), None, "tiny")


def word(response: str) -> float:
    """A score fixed by the response alone."""
    return hashlib.sha256(response.encode()).digest()[0] / 255


@contextmanager
def judged_by(verdict: Verdict = word, *, by_criteria: bool = False) -> Iterator[tuple[JudgeConfig, Service]]:
    """A loopback judge whose score of a response is `verdict(response)`; None where it abstains. With `by_criteria` a
    number stands for the score of the scripted judge, which depends on the criteria that it is asked about."""
    service = Service(lambda body: answered(_said(body, verdict, by_criteria)))
    with served(service) as url:
        yield JudgeConfig(url, judge_timeout_s=60.0, max_missing_fraction=1.0), service


def _said(body: Json, verdict: Verdict, by_criteria: bool) -> Json:
    answer = scores(body)
    responses = [response for item in body["items"] for response in item.get("responses", [item.get("response")])]
    for result, response in zip(answer["results"], responses, strict=True):
        said = verdict(response)
        result["score"] = result["score"] if by_criteria and said is not None else said
        if result["score"] is None:
            nothing = {"status": "abstained", "met": None, "p": None, "p_raw": None}
            result |= {"status": "failed", "score_bounds": None, "coverage": 0.0}
            result["criteria"] = [one | nothing for one in result["criteria"]]
    return answer


@dataclass
class Recorder:
    """What a trainer generated and what its loss was given. `watch` a trainer before it trains; `tell` hears of each
    call of the rollout function before ("begin") and after it ("rollout"), and of each call of the loss ("loss")."""

    tell: Callable[[str, dict[str, Any]], None] = lambda kind, what: None
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    losses: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def watch(self, trainer: Any) -> Any:
        roll, single = trainer.rollout_func, trainer._generate_single_turn

        def rolled(prompts: list[Any], of: Any) -> dict[str, Any]:
            self.tell("begin", {"step": of.state.global_step})
            made: dict[str, Any] = roll(prompts, of)
            bare = [_ids(of.processing_class, prompt) for prompt in prompts]
            about = {"step": of.state.global_step, "training": of.model.training, "from": roll.generated_from}
            self.rollouts.append({**made, **about, "prompts": prompts, "bare": bare})
            self.tell("rollout", self.rollouts[-1])
            return made

        def generated(ids: Any, *more: Any, **named: Any) -> Any:
            self.events.append(f"generate {len(ids)} {named}")
            return single(ids, *more, **named)

        trainer.rollout_func, trainer._generate_single_turn = _Rolling(rolled, roll), generated
        return self.watch_losses(trainer)

    def watch_losses(self, trainer: Any) -> Any:
        loss = trainer._compute_loss

        def lost(model: Any, inputs: dict[str, Any]) -> Any:
            kept = {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
            self.losses.append({"step": trainer.state.global_step, "training": model.training, **kept})
            self.tell("loss", self.losses[-1])
            return loss(model, inputs)

        trainer._compute_loss = lost
        return trainer


def _ids(tokenizer: Any, prompt: list[dict[str, Any]]) -> list[int]:
    """A prompt's ids by the template alone."""
    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in prompt)
    ids: list[int] = tokenizer(f"{turns}<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    return ids


class _Rolling:
    def __init__(self, rolled: Callable[[list[Any], Any], dict[str, Any]], rollouts: Any) -> None:
        self._rolled, self._rollouts = rolled, rollouts

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        return self._rolled(prompts, trainer)

    @property
    def generated_from(self) -> Any:
        return self._rollouts.generated_from


def configured(out: Path, **changes: Any) -> Any:
    """One batch of two groups, in one pass."""
    sizes = {"group": GROUP, "prompts_per_batch": 2, "mini_batch": 2, "per_device": 8, "steps": 1}
    return grpo_config(out, **{**sizes, **QUIET, "save_strategy": "no", **changes})


def trained(
    out: Path, policy: str, judging: JudgeConfig, *, count: int = 2, config: Any = None, **more: Any
) -> Recorder:
    """What happened in a training on `count` rows."""
    seen, options = Recorder(), {"scaffold": EVEN, **more}
    trainer = build(policy, rows(count), judging=judging, config=config or configured(out), **options)
    seen.watch(trainer).train()
    return seen


def texts(policy: str, completions: Sequence[Sequence[int]]) -> list[str]:
    """The completions as the judge reads them."""
    ids = [list(one) for one in completions]
    read: list[str] = AutoTokenizer.from_pretrained(policy).batch_decode(ids, skip_special_tokens=True)
    return read

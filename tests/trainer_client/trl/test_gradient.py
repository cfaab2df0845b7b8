"""The gradient that TRL applies is the one written by hand here from the papers' formula, prompt by prompt and without
padding. What is asserted is a relative error over all weights together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2ForCausalLM, TrainerCallback

from tests.trainer_client.trl.tiny import EVEN, QUIET, Recorder, judged_by, rows, save_policy, texts, word
from trainer_client.scaffold import Ratio
from trainer_client.trl.trainer import build, grpo_config

GROUP, QUESTIONS, TEMPERATURE, EPSILON = 4, 2, 0.8, 0.2
EXACT = 1e-5
Weights = dict[str, torch.Tensor]
Ids = tuple[int, ...]


@dataclass(frozen=True)
class Rollout:
    """One completion of a batch: its ids after the bare and after the scaffolded prompt, and its advantage by hand."""

    bare: Ids
    scaffolded: Ids
    completion: Ids
    reward: float | None
    advantage: float


@dataclass(frozen=True)
class Update:
    """One optimiser step: the weights before it, the gradient it applied, the completions it used, and those of its
    whole batch."""

    before: Weights
    gradient: Weights
    used: list[Rollout]
    batch: list[Rollout]
    old: Weights
    first: Weights
    policy: str


class Steps(TrainerCallback):
    """The weights and the gradient at each optimiser step."""

    def __init__(self) -> None:
        self.taken: list[tuple[Weights, Weights]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        weights = {name: one.detach().clone() for name, one in model.named_parameters()}
        gradient = {name: one.grad.clone() for name, one in model.named_parameters()}
        self.taken.append((weights, gradient))


def train(
    folder: Path,
    ratio: Ratio = "bare/bare",
    *,
    mini_batch: int = QUESTIONS,
    beta: float = 0.0,
    verdict: Callable[[str], float | None] = word,
    **trl: Any,
) -> list[Update]:
    """The updates of two batches of two groups of four, in passes of two completions."""
    policy = save_policy(folder / "policy", dtype=torch.float64)
    config = grpo_config(
        folder / "out",
        group=GROUP,
        prompts_per_batch=QUESTIONS,
        mini_batch=mini_batch,
        per_device=2,
        steps=2,
        save_strategy="no",
        learning_rate=0.02,
        max_grad_norm=0.0,
        temperature=TEMPERATURE,
        beta=beta,
        model_init_kwargs={"dtype": "auto"},
        **{**QUIET, **trl},
    )
    steps, seen = Steps(), Recorder()
    with judged_by(verdict) as (judging, _):
        trainer = build(policy, rows(4), judging=judging, config=config, scaffold=EVEN, ratio=ratio, callbacks=[steps])
        seen.watch(trainer).train()
    passes = mini_batch * GROUP // 2
    updates = QUESTIONS // mini_batch
    found = []
    for n, (before, gradient) in enumerate(steps.taken):
        if n % updates == 0:
            batch = _batch(policy, seen.rollouts[n // updates], verdict)
            left = list(batch)
        used = [one for part in seen.losses[n * passes : (n + 1) * passes] for one in _used(part, left)]
        old, first = steps.taken[n // updates * updates][0], steps.taken[0][0]
        found.append(Update(before, gradient, used, batch, old, first, policy))
    assert len(found) == 2 * updates
    return found


def _batch(policy: str, rollout: dict[str, Any], verdict: Callable[[str], float | None]) -> list[Rollout]:
    """The batch of one call of the rollout function, with advantages by the papers' formula."""
    bare = rollout["bare"]
    rewards = [verdict(text) for text in texts(policy, rollout["completion_ids"])]
    found = []
    for start in range(0, len(rewards), GROUP):
        scored = torch.tensor([one for one in rewards[start : start + GROUP] if one is not None], dtype=torch.float64)
        mean, std = scored.mean(), scored.std() if len(scored) > 1 else torch.tensor(0.0)
        for n in range(start, start + GROUP):
            reward = rewards[n]
            advantage = 0.0 if reward is None else float((reward - mean) / (std + 1e-4))
            ids = tuple(rollout["completion_ids"][n])
            found.append(Rollout(tuple(bare[n]), tuple(rollout["from"][n]), ids, reward, advantage))
    return found


def _used(part: dict[str, Any], left: list[Rollout]) -> Iterator[Rollout]:
    """The rollouts of one pass, told by their completion, advantage and prompt. TRL shuffles a batch. Each is taken out
    of those that are `left`: two of a group may be alike in all but the scaffold."""
    for row, advantage in enumerate(part["advantages"].tolist()):
        completion = tuple(part["completion_ids"][row][part["completion_mask"][row].bool()].tolist())
        prompt = tuple(part["prompt_ids"][row][part["prompt_mask"][row].bool()].tolist())
        fit = [one for one in left if one.completion == completion and prompt in (one.bare, one.scaffolded)]
        assert fit, "the loss was given a completion that nobody generated"
        assert min(abs(one.advantage - advantage) for one in fit) < 1e-4
        one = min(fit, key=lambda one: abs(one.advantage - advantage))
        left.remove(one)
        yield one


def by_hand(update: Update, ratio: str, *, beta: float = 0.0, updates: int = 1) -> Weights:
    """Clipped GRPO with k3's KL term, a mean over tokens; `ratio` names the prompts above and below."""
    above, below = ratio.split("/")
    model, old, first = (_model(update.policy, weights) for weights in (update.before, update.old, update.first))
    tokens = sum(len(one.completion) for one in update.batch) / updates
    loss = torch.zeros((), dtype=torch.float64)
    for one in update.used:
        prompts = {"bare": one.bare, "scaffold": one.scaffolded}
        logps = _logps(model, prompts[above], one.completion)
        with torch.no_grad():
            rho_old = _logps(old, prompts[below], one.completion)
            reference = _logps(first, prompts[above], one.completion)
        rho = torch.exp(logps - rho_old)
        gain = torch.min(rho * one.advantage, rho.clamp(1 - EPSILON, 1 + EPSILON) * one.advantage)
        kl = torch.exp(reference - logps) - (reference - logps) - 1
        loss = loss - (gain - beta * kl).sum() / tokens
    loss.backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def _model(policy: str, weights: Weights) -> Any:
    model = Qwen2ForCausalLM.from_pretrained(policy, dtype=torch.float64)
    model.load_state_dict(weights, strict=False)
    return model


def _logps(model: Any, prompt: Ids, completion: Ids) -> torch.Tensor:
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
    chosen = torch.tensor(completion)[:, None]
    return torch.log_softmax(logits, -1).gather(1, chosen)[:, 0]


def error(found: Weights, wanted: Weights) -> float:
    """The relative error, all weights as one vector."""
    assert found.keys() == wanted.keys()
    apart = sum(float(((found[name] - wanted[name]) ** 2).sum()) for name in wanted)
    size = sum(float((wanted[name] ** 2).sum()) for name in wanted)
    assert size > 0
    return float((apart / size) ** 0.5)


def test_the_gradient_is_the_bare_prompts(tmp_path: Path) -> None:
    updates = train(tmp_path)
    for update in updates:
        lengths = {len(one.bare) for one in update.batch} | {len(one.scaffolded) for one in update.batch}
        assert len(lengths) > 4 and len({len(one.completion) for one in update.batch}) > 1  # padded on both sides
        assert error(update.gradient, by_hand(update, "bare/bare")) < EXACT
        assert error(update.gradient, by_hand(update, "scaffold/scaffold")) > 0.3


def test_two_updates_a_batch_and_a_kl_term(tmp_path: Path) -> None:
    updates = train(tmp_path, mini_batch=1, beta=0.3)
    for n, update in enumerate(updates):
        right = by_hand(update, "bare/bare", beta=0.3, updates=2)
        assert error(update.gradient, right) < EXACT
        if n % 2:
            fresh = by_hand(replace(update, old=update.before), "bare/bare", beta=0.3, updates=2)
            assert error(update.gradient, fresh) > 1e-3
        if n:
            assert error(update.gradient, by_hand(update, "bare/bare", updates=2)) > 1e-2


@pytest.mark.parametrize("ratio", ["scaffold/scaffold", "bare/scaffold"])
@pytest.mark.parametrize("mini_batch", [1, 2])
def test_the_other_ratios_are_what_they_are_called(tmp_path: Path, ratio: Ratio, mini_batch: int) -> None:
    updates = train(tmp_path, ratio, mini_batch=mini_batch, beta=0.1)
    for update in updates:
        count = QUESTIONS // mini_batch
        assert error(update.gradient, by_hand(update, ratio, beta=0.1, updates=count)) < EXACT
        assert error(update.gradient, by_hand(update, "bare/bare", beta=0.1, updates=count)) > 0.1


def some(response: str) -> float | None:
    """About half have no reward."""
    value = word(response)
    return None if value < 0.7 else value


def test_what_was_not_judged_moves_nothing_and_is_in_no_baseline(tmp_path: Path) -> None:
    updates = train(tmp_path, verdict=some)
    unjudged = [one for update in updates for one in update.used if one.reward is None]
    judged = [one for update in updates for one in update.used if one.reward is not None]
    assert len(unjudged) >= 3 and len(judged) >= 3
    assert {one.advantage for one in unjudged} == {0.0}
    for update in updates:
        assert error(update.gradient, by_hand(update, "bare/bare")) < EXACT

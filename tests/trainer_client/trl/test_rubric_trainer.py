"""The bounded KL term against verl's formula, written here once more, and the tables of held-out rollouts."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.trainer_client.trl.quiet_trl import GRPOTrainer
from tests.trainer_client.trl.tiny import EVEN, Recorder, configured, judged_by, rows, save_policy, word
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.trl.rubric_trainer import HIGHEST, LOWEST, Kl, bounded
from trainer_client.trl.trainer import build

BETA, FAR = 0.5, 30.0


def _k3(ratio: torch.Tensor) -> torch.Tensor:
    return torch.exp(ratio) - ratio - 1


def test_at_the_bounds_the_term_is_ten() -> None:
    for bound in (LOWEST, HIGHEST):
        assert float(_k3(torch.tensor(bound, dtype=torch.float64))) == pytest.approx(10, abs=1e-12)


def test_value_and_gradient_are_those_of_verls_two_bounds() -> None:
    """10,000 log-probabilities, of which about three in four are beyond a bound."""
    torch.manual_seed(0)
    reference = torch.empty(10_000, dtype=torch.float64).uniform_(-40, 0)
    logps = torch.empty_like(reference).uniform_(-40, 0).requires_grad_()
    ours = _k3(bounded(reference, logps) - logps)
    (found,) = torch.autograd.grad(ours.sum(), logps)
    ratio = (reference - logps).clamp(-20, 20)
    verls = _k3(ratio).clamp(-10, 10)
    (wanted,) = torch.autograd.grad(verls.sum(), logps)
    assert (ours - verls).abs().max() < 1e-12 and (found - wanted).abs().max() < 1e-12
    assert 0.6 < (wanted == 0).double().mean() < 0.9


def _gradient(trainer: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, inputs).backward()
    return torch.cat([one.grad.flatten() for one in trainer.model.parameters()])


def _batch(tmp_path: Path, judging: JudgeConfig, kl: Kl) -> tuple[Any, dict[str, torch.Tensor]]:
    """A trainer in double precision, and what its loss was given for the one batch of its training."""
    policy = save_policy(tmp_path / "policy", dtype=torch.float64)
    config = configured(tmp_path, beta=BETA, learning_rate=0.0, model_init_kwargs={"dtype": "auto"})
    trainer, seen = build(policy, rows(2), judging=judging, config=config, scaffold=EVEN, kl=kl), Recorder()
    seen.watch(trainer).train()
    kept = {name: value for name, value in seen.losses[0].items() if isinstance(value, torch.Tensor)}
    return trainer, kept


@pytest.mark.parametrize("kl", ["clamped", "plain"])
def test_a_token_that_the_bare_policy_hardly_writes_moves_the_gradient_by_a_bounded_amount(
    kl: Kl, tmp_path: Path, judging: JudgeConfig
) -> None:
    trainer, inputs = _batch(tmp_path, judging, kl)
    reference = inputs["ref_per_token_logps"]
    far = reference.clone()
    far[0, 0] += FAR
    before = _gradient(trainer, inputs)
    moved = float((_gradient(trainer, {**inputs, "ref_per_token_logps": far}) - before).norm())
    # The gradient of this token's log-probability, by a change of the reference that is inside of the bounds.
    near = reference.clone()
    near[0, 0] += 1e-3
    of_token = float((_gradient(trainer, {**inputs, "ref_per_token_logps": near}) - before).norm()) / BETA / 1e-3
    assert of_token > 0
    if kl == "clamped":
        assert moved <= BETA * 10 * of_token
    else:
        assert moved > BETA * 1e12 * of_token


def test_what_is_logged_about_the_term(tmp_path: Path, judging: JudgeConfig) -> None:
    trainer, inputs = _batch(tmp_path, judging, "clamped")
    far = inputs["ref_per_token_logps"].clone()
    far[0, 0] += FAR
    far[1, inputs["completion_mask"][1] == 0] += FAR  # padding
    trainer.model.train()
    for reference in (far, inputs["ref_per_token_logps"]):
        trainer.compute_loss(trainer.model, {**inputs, "ref_per_token_logps": reference})
    trainer.log({})
    logged, tokens = trainer.state.log_history[-1], float(inputs["completion_mask"].sum())
    assert logged["kl/max"] == pytest.approx(float(_k3(torch.tensor(FAR))), rel=1e-4), "the largest of both passes"
    assert logged["kl/beyond_share"] == pytest.approx(1 / tokens / 2)
    assert logged["kl"] == pytest.approx(10 / tokens / 2, rel=1e-4), "the mean is of the bounded term"


@pytest.mark.parametrize(("most", "share"), [(1e-6, 1.0), (1e6, 0.0)])
def test_the_share_of_updates_that_are_clipped(
    most: float, share: float, tmp_path: Path, policy: str, judging: JudgeConfig
) -> None:
    config = configured(tmp_path, max_grad_norm=most)
    trainer = build(policy, rows(2), judging=judging, config=config, scaffold=EVEN)
    trainer.train()
    assert trainer.state.log_history[0]["grad_norm/clipped_share"] == share


def test_a_trl_whose_loss_is_made_in_another_way_is_refused(
    tmp_path: Path, policy: str, judging: JudgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda self, model, inputs: torch.zeros(()))
    trainer = build(policy, rows(2), judging=judging, config=configured(tmp_path, beta=0.1), scaffold=EVEN)
    with pytest.raises(RuntimeError, match=r"computes its loss in another way: install trl>="):
        trainer.train()


def test_the_schedule_counts_batches(tmp_path: Path, policy: str, judging: JudgeConfig) -> None:
    """Four batches of two updates, by a schedule from everything in the first batch to nothing in the last."""
    config = configured(tmp_path, mini_batch=1, per_device=4, steps=4)
    assert config.max_steps == 8
    scaffold, seen = Scaffold(Schedule("binary", "linear", full=4)), Recorder()
    trainer = build(policy, rows(8, criteria=4), judging=judging, config=config, scaffold=scaffold)
    seen.watch(trainer).train()
    shares = [set(rollout["revealed_share"]) for rollout in seen.rollouts]
    assert shares == [{1.0}, {0.75}, {0.25}, {0.0}]


def test_held_out_rollouts_have_tables_of_their_own(tmp_path: Path, policy: str, judging: JudgeConfig) -> None:
    """Of nine held-out rows, more than a training batch has rollouts, and as often as TRL evaluates."""
    config = configured(
        tmp_path,
        steps=2,
        log_completions=True,
        eval_strategy="steps",
        eval_steps=1,
        num_generations_eval=1,
        per_device_eval_batch_size=3,
    )
    held_out = rows(9)
    with judged_by(lambda response: 1 - word(response)) as (examining, asked):
        parts: dict[str, Any] = {"judging": judging, "examining": examining, "eval_rows": held_out}
        trainer = build(policy, rows(4), config=config, scaffold=EVEN, **parts)
        trainer.train()
    assert sum(len(body["items"]) for body in asked.bodies) == 2 * 9, "it is asked about no training rollout"
    tables = {file.name: pq.read_table(file).to_pydict() for file in (tmp_path / "completions").iterdir()}
    assert sorted(tables) == [f"{kind}_0000{n}.parquet" for kind in ("completions", "held_out") for n in (1, 2)]
    for n in (1, 2):
        assert sorted(tables[f"held_out_0000{n}.parquet"]["row"]) == sorted(row.id for row in held_out)
        assert len(tables[f"completions_0000{n}.parquet"]["row"]) == 8
        assert set(tables[f"held_out_0000{n}.parquet"]["step"]) == {n}
    logs = [one for one in trainer.state.log_history if "eval_reward" in one]
    assert [one["step"] for one in logs] == [1, 2]
    scores = tables["held_out_00002.parquet"]["score"]
    assert logs[1]["eval_reward"] == pytest.approx(sum(scores) / len(scores), abs=1e-5)
    examined = tables["held_out_00002.parquet"]["examiner/score"]
    assert examined == [pytest.approx(1 - score) for score in scores]
    assert logs[1]["eval_examiner/reward/bare"] == pytest.approx(sum(examined) / len(examined), abs=1e-5)
    assert "examiner/score" not in tables["completions_00002.parquet"]
    assert not [name for log in trainer.state.log_history for name in log if name.startswith("examiner/")]

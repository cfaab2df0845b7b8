"""A training of the tiny policy in processes of its own, which a test may kill.

Guarantees: `record-RANK.jsonl` has a line for each thing as it happened, written before the next one; the last file
written is `weights-RANK.pt`; a run that raised says so in `error-RANK.txt`.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from testkit.free_port import free_port
from testkit.waiting import HUNG_S
from tests.trainer_client.trl.tiny import QUIET, Recorder, rows
from trainer_client.data.rows import training_order
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolution
from trainer_client.live_rubrics.proposer import FunctionProposer
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.trl.live_rubrics import Evolving
from trainer_client.trl.trainer import build, grpo_config

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.trainer_client.trl.training_run"])  # TRL is imported once for all of them


@dataclass(frozen=True)
class Plan:
    """`pause_at`: before it generates at this optimiser step it waits until the file `go` is in `out`."""

    out: Path
    policy: str
    judging: JudgeConfig
    steps: int
    prompts_per_batch: int
    mini_batch: int
    per_device: int
    group: int = 4
    world: int = 1
    epochs: int = 1
    rows: int = 4
    save_every: int = 100
    resume: str | None = None
    pause_at: int | None = None
    trl: dict[str, Any] = field(default_factory=dict)
    dropout: RubricDropout | None = None
    evolution: Evolution | None = None

    def records(self, rank: int = 0, kind: str = "rollout") -> list[dict[str, Any]]:
        file = self.out / f"record-{rank}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [record for record in map(json.loads, lines) if record["kind"] == kind]

    def weights(self, rank: int = 0) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = torch.load(self.out / f"weights-{rank}.pt")
        return found

    def error(self, rank: int = 0) -> str:
        return (self.out / f"error-{rank}.txt").read_text()


class Running:
    """The processes of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        plan.out.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.processes = [CONTEXT.Process(target=_run, args=(plan, rank, port)) for rank in range(plan.world)]
        for process in self.processes:
            process.start()

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def end(self) -> list[int | None]:
        """Exit statuses, once all have ended."""
        for process in self.processes:
            process.join(HUNG_S)
        return [process.exitcode for process in self.processes]

    def until(self, happened: Callable[[Plan], bool]) -> None:
        deadline = time.monotonic() + HUNG_S
        while not happened(self.plan):
            assert time.monotonic() < deadline and any(process.is_alive() for process in self.processes)
            time.sleep(0.02)


def _run(plan: Plan, rank: int, port: int) -> None:
    torch.set_num_threads(1)
    if plan.world > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": plan.world, "MASTER_PORT": port}
        os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in place.items()}})
    status = 0
    try:
        _train(plan, rank)
    except Exception as error:
        (plan.out / f"error-{rank}.txt").write_text(f"{type(error).__name__}: {error}")
        status = 1
    os._exit(status)  # torch's teardown of gloo ends some processes with an abort


def _evolving(plan: Plan) -> Evolving | None:
    """The proposer's answers are in `asked`, one line for each group that it was asked about."""
    if plan.evolution is None:
        return None

    def propose(*, prompt: list[Any], answers: list[str], step: int, **_: Any) -> list[dict[str, str]]:
        with (plan.out / "asked").open("a") as file:
            file.write(json.dumps([step, prompt[-1]["content"], answers]) + "\n")
        text = f"Says {sorted(answers)[0]!r} in {step}."
        return [{"text": text, "kind": "positive"}, {"text": f"Repeats {len(text)} words.", "kind": "anti_hack"}]

    journal = plan.out / "proposals.jsonl"
    return Evolving(plan.evolution, FunctionProposer("scripted", propose), journal, plan.out / "rubrics.jsonl")


def _train(plan: Plan, rank: int) -> None:
    config = grpo_config(
        plan.out,
        group=plan.group,
        prompts_per_batch=plan.prompts_per_batch,
        mini_batch=plan.mini_batch,
        per_device=plan.per_device,
        steps=plan.steps,
        world=plan.world,
        save_every=plan.save_every,
        **{**QUIET, "learning_rate": 0.02, **plan.trl},
    )
    order = training_order(rows(plan.rows), epochs=plan.epochs, seed=1, batch=plan.prompts_per_batch)
    trainer = build(
        plan.policy,
        order,
        judging=plan.judging,
        config=config,
        scaffold=Scaffold(Schedule(over="linear")),
        dropout=plan.dropout,
        evolving=_evolving(plan),
    )
    with (plan.out / f"record-{rank}.jsonl").open("a") as file:

        def tell(kind: str, what: dict[str, Any]) -> None:
            kept = {name: one.tolist() if isinstance(one, torch.Tensor) else one for name, one in what.items()}
            file.write(json.dumps({"kind": kind, **kept}) + "\n")
            file.flush()
            if kind == "begin" and what["step"] == plan.pause_at:
                while not (plan.out / "go").exists():
                    time.sleep(0.02)

        Recorder(tell=tell).watch(trainer).train(resume_from_checkpoint=plan.resume)
        for log in trainer.state.log_history:
            tell("log", log)
    weights = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
    torch.save(weights, plan.out / f"weights-{rank}.pt")
    if plan.world > 1:
        torch.distributed.barrier()

"""One arm, one seed: the tiny policy trained over HTTP, then measured. Run in a process of its own by `study`.

Guarantees: `result.json` is written last, so a folder that has one holds a whole run.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, get_args

from miniature.experiment.arms import ARMS, GROUP, Arm, Kl, Setting
from miniature.world.tasks import rows

POLICY = Path(__file__).parents[1] / "checkpoints" / "policy"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m miniature.experiment.run", description=__doc__)
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--rate", type=float, help="learning rate, instead of the arm's")
    parser.add_argument("--steps", type=int, default=Setting.__dataclass_fields__["steps"].default)
    parser.add_argument("--kl", choices=get_args(Kl), default=Setting().kl, help="the KL term's bound (%(default)s)")
    parser.add_argument("--samples", type=int, default=64, help="answers to each prompt in the measurement (64)")
    options = parser.parse_args(arguments)
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")
    arm = ARMS[options.arm]
    rate = options.rate or arm.rate
    setting = Setting(steps=options.steps, kl=options.kl)
    started = time.monotonic()
    train(arm, setting, rate=rate, seed=options.seed, url=options.url, out=options.out, policy=options.policy)
    took_s = time.monotonic() - started
    from miniature.policy.policy_evaluation import measure

    result = {
        "arm": options.arm,
        "seed": options.seed,
        "rate": rate,
        "samples": options.samples,
        "policy": str(options.policy),
        "setting": asdict(setting),
        "trained_s": took_s,
        "splits": measure(options.out / "policy", options.url, seed=options.seed, samples=options.samples),
    }
    (options.out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def train(arm: Arm, setting: Setting, *, rate: float, seed: int, url: str, out: Path, policy: Path) -> None:
    """Writes `metrics.jsonl` as it goes and the policy at the end."""
    import torch

    from trainer_client.scaffold import Scaffold
    from trainer_client.trl.trainer import JudgeConfig, build, grpo_config

    torch.set_num_threads(1)
    config = grpo_config(
        out,
        group=GROUP,
        prompts_per_batch=setting.prompts_per_batch,
        mini_batch=setting.prompts_per_batch,
        per_device=setting.prompts_per_batch * GROUP,
        steps=setting.steps,
        save_every=setting.steps,
        learning_rate=rate,
        beta=setting.beta,
        max_completion_length=setting.longest,
        adam_beta2=0.99,
        gradient_checkpointing=False,
        disable_tqdm=True,
        log_completions=False,
        report_to=[],
        save_strategy="no",
        seed=seed,
    )
    trainer = build(
        str(policy),
        list(order(setting, seed)),
        judging=JudgeConfig(
            url, judge_timeout_s=setting.judge_timeout_s, truncation_penalty=setting.truncation_penalty
        ),
        config=config,
        scaffold=Scaffold(arm.schedule, seed=seed),
        ratio=arm.ratio,  # type: ignore[arg-type]
        kl=setting.kl,
        callbacks=[_writer(out / "metrics.jsonl")],
    )
    trainer.train()
    trainer.save_model(str(out / "policy"))


def order(setting: Setting, seed: int) -> Iterator[Any]:
    """The rows of all steps: epoch after epoch, each in an order of its own."""
    from trainer_client import wire
    from trainer_client.data.rows import Row

    random, left = Random(seed), setting.steps * setting.prompts_per_batch
    while left > 0:
        epoch = rows("train")
        random.shuffle(epoch)
        for row in epoch[:left]:
            rubric = wire.Rubric.model_validate(row["rubric"])
            yield Row(row["id"], tuple(row["prompt"]), rubric, None, "miniature")
        left -= len(epoch)


def _writer(path: Path) -> Any:
    from transformers import TrainerCallback

    class Writer(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            kept = {name: value for name, value in more["logs"].items() if not name.startswith("criteria/")}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **kept}) + "\n")

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return Writer()


def metrics(folder: Path) -> list[dict[str, float]]:
    """The lines that a run has written so far."""
    path = folder / "metrics.jsonl"
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())

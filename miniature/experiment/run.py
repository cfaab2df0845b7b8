"""One arm, one seed: the tiny policy trained over HTTP, then measured. Run in a process of its own by `study`.

Guarantees: `result.json` is written last, so a folder that has one holds a whole run.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, get_args

from miniature.experiment import erring_judge
from miniature.experiment.arms import ARMS, GROUP, Arm, Kl, Reward, Setting
from miniature.experiment.exact_service import Shortcut, exact_service, serving
from miniature.experiment.proposer import propose
from miniature.world.clinic import GENERIC_ITEMS, rubric
from miniature.world.ratings import reference_answer
from miniature.world.tasks import MALFORMED, rows, topic_of, topics

ASKED = ("steps", "kl", "beta", "reward", "agreement", "temperature", "top_p", "ruled")
POLICY = Path(__file__).parents[1] / "checkpoints" / "policy"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m miniature.experiment.run", description=__doc__)
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", help="the judge service; not needed where the reward is the truth")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--rate", type=float, help="learning rate, instead of the arm's")
    parser.add_argument("--judge", default="", help="name of the judge, for the result")
    parser.add_argument("--samples", type=int, default=64, help="answers to each prompt in the measurement (64)")
    add_setting(parser)
    options = parser.parse_args(arguments)
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")
    with _judge(setting_of(options), options.url) as url:
        result = _run(options, url)
    (options.out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def _judge(setting: Setting, url: str) -> contextlib.AbstractContextManager[str]:
    match setting.reward:
        case "judge":
            return contextlib.nullcontext(url)
        case "erring":
            return serving(partial(erring_judge.answer, agreement=setting.agreement))
        case reward:
            return exact_service(shortcut() if reward == "shortcut" else None)


def shortcut() -> Shortcut:
    """A bad idea that a third of the untrained policy's answers have. Where it is, the first key item of every topic
    counts as said."""
    return Shortcut(GENERIC_ITEMS[7], frozenset(rubric(topic)[0].text for topic in topics("train")))


def add_setting(parser: argparse.ArgumentParser) -> None:
    """The options that say how all arms are trained."""
    default = Setting()
    add = parser.add_argument
    add("--steps", type=int, default=default.steps, help="batches of rollouts (%(default)s)")
    add("--kl", choices=get_args(Kl), default=default.kl, help="the KL term as TRL has it, or bounded (%(default)s)")
    add("--beta", type=float, default=default.beta, help="weight of the KL term (%(default)s)")
    add("--reward", choices=get_args(Reward), default=default.reward, help="whose word the reward is (%(default)s)")
    add(
        "--agreement",
        type=float,
        default=default.agreement,
        help="of an erring judge with the truth, as a correlation (%(default)s)",
    )
    add("--ruled", action=argparse.BooleanOptionalAction, default=default.ruled, help="add a rule against broken steps")
    add("--temperature", type=float, default=default.temperature, help="of the rollouts (%(default)s)")
    add("--top-p", type=float, default=default.top_p, help="of the rollouts (%(default)s)")


def setting_of(options: argparse.Namespace) -> Setting:
    return Setting(**{name: getattr(options, name) for name in ASKED})


def _run(options: argparse.Namespace, url: str) -> dict[str, Any]:
    arm, setting = ARMS[options.arm], setting_of(options)
    rate = options.rate or arm.rate
    started = time.monotonic()
    train(arm, setting, rate=rate, seed=options.seed, url=url, out=options.out, policy=options.policy)
    took_s = time.monotonic() - started
    from miniature.policy.policy_evaluation import measure

    return {
        "arm": options.arm,
        "seed": options.seed,
        "judge": options.judge,
        "rate": rate,
        "samples": options.samples,
        "policy": str(options.policy),
        "setting": asdict(setting),
        "trained_s": took_s,
        "splits": measure(options.out / "policy", url, seed=options.seed, samples=options.samples),
    }


def train(arm: Arm, setting: Setting, *, rate: float, seed: int, url: str, out: Path, policy: Path) -> None:
    """Writes `metrics.jsonl` as it goes and the policy at the end."""
    import torch

    from miniature.experiment.odd_scaffolds import InOrder, MixedUp
    from trainer_client.live_rubrics.proposer import FunctionProposer
    from trainer_client.scaffold import Scaffold
    from trainer_client.trl.live_rubrics import Evolving
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
        temperature=setting.temperature,
        top_p=setting.top_p,
        max_completion_length=setting.longest,
        adam_beta2=0.99,
        gradient_checkpointing=False,
        disable_tqdm=True,
        log_completions=False,
        report_to=[],
        save_strategy="no",
        seed=seed,
    )
    judging = JudgeConfig(
        url,
        options=dict(arm.asked),  # type: ignore[arg-type]
        judge_timeout_s=setting.judge_timeout_s,
        truncation_penalty=setting.truncation_penalty,
    )
    evolving = None
    if arm.evolution is not None:
        evolving = Evolving(arm.evolution, FunctionProposer("bad ideas", propose), log=out / "evolving.jsonl")
    kind = partial(MixedUp, share=arm.mixed_up) if arm.mixed_up else InOrder if arm.in_order else Scaffold
    trainer = build(
        str(policy),
        list(order(setting, seed, arm)),
        judging=judging,
        config=config,
        scaffold=kind(arm.schedule, seed=seed),
        ratio=arm.ratio,  # type: ignore[arg-type]
        kl=setting.kl,
        dropout=None if arm.dropout is None else replace(arm.dropout, seed=seed),
        evolving=evolving,
        callbacks=[_writer(out / "metrics.jsonl")],
    )
    trainer.train()
    trainer.save_model(str(out / "policy"))


def order(setting: Setting, seed: int, arm: Arm) -> Iterator[Any]:
    """The rows of all steps, with what the arm does to them: epoch after epoch, each in an order of its own."""
    from trainer_client import wire
    from trainer_client.data.rows import Row
    from trainer_client.perturbation.rubrics import perturbed

    random, left = Random(seed), setting.steps * setting.prompts_per_batch
    while left > 0:
        epoch = rows("train")
        random.shuffle(epoch)
        for row in epoch[:left]:
            ruled = [MALFORMED] if setting.ruled else []
            asked = wire.Rubric.model_validate({"criteria": [*row["rubric"]["criteria"], *ruled]})
            if arm.noise is not None:
                topic = topic_of(row["id"]).name  # a topic's rubric is worsened alike in all wordings of its question
                asked = perturbed(asked, arm.noise, seed=seed, name=topic).rubric
            reference = reference_answer(topic_of(row["id"])) if arm.referenced else None
            yield Row(row["id"], tuple(row["prompt"]), asked, reference, "miniature")
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

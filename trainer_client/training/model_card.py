"""Writes the card of a trained policy: what it was trained from, by which preset, and by which judges.

Guarantees: the card names the policy that the training began with; a folder is named without its path, which is this
machine's own.
"""

from pathlib import Path

from trainer_client.training.presets import PRESETS
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfig


def write(folder: Path, out: Path, run: RunConfig, steps: int) -> None:
    """Writes README.md into `folder`, about the run in `out`."""
    (folder / "README.md").write_text(card(run, steps, run_dir.judges(out)), encoding="utf-8")


def card(run: RunConfig, steps: int, judges: run_dir.Judges) -> str:
    """The card as markdown."""
    of_hub = not Path(run.policy).is_dir()
    policy = run.policy if of_hub else Path(run.policy).name
    head = [f"base_model: {policy}"] if of_hub else []
    head += [f"library_name: {'transformers' if run.lora is None else 'peft'}", "pipeline_tag: text-generation"]
    linked = f"[{policy}](https://huggingface.co/{policy})" if of_hub else f"the policy in the folder `{policy}`"
    what = "" if run.lora is None else f", as a LoRA adapter of rank {run.lora.r}"
    judged = "\n".join(
        f"* from step {one['from_step']}: {one['model']}, fingerprint `{one['fingerprint']}`, mode {one['mode']}"
        for one in judges
    )
    return (
        "\n".join(["---", *head, "tags: [rubricd, trl, grpo]", "---"])
        + f"\n\n# {Path(run.out).name}\n\nTrained from {linked} by `rubricd train`{what}: preset `{run.preset}` "
        f"({PRESETS[run.preset].about}), {steps} batches of {run.prompts_per_batch} prompts x {run.group} rollouts. "
        f"`run.yaml` has every setting.\n\nThe rewards are the scores of\n\n{judged}\n"
    )

"""Writes the card of a distilled judge: what it learned from, how well it agrees, what it saves and how to serve it.

Guarantees: a figure stands with its interval. A folder is named without its path, which is this machine's own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.agreement.bootstrap import Figure
from trainer_client.agreement.shown import text
from trainer_client.calibration.made import Made
from trainer_client.distillation.outcome import Agreement
from trainer_client.distillation.rendering import Rendered
from trainer_client.distillation.teacher import Cost

_NAMES = {"auroc": "AUROC", "accuracy": "accuracy at 0.5", "log_loss": "log loss", "ece": "ECE"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the card says. `learned` and `held_out` are numbers of criteria; `teacher` and its cost are None where
    labels were learned."""

    base: str
    rendered: Rendered
    digest: str
    learned: int
    held_out: int
    left_out: Mapping[str, int]
    recipe: Mapping[str, Any]
    teacher: wire.Judge | None
    teacher_cost: Cost | None
    cost: Cost
    label_mass: float
    agreements: Sequence[Agreement]


def write(folder: Path, name: str, facts: Facts) -> None:
    """Writes README.md about the judge of this name, and distillation.json with the same figures."""
    (folder / "README.md").write_text(card(name, facts), encoding="utf-8")
    (folder / "distillation.json").write_text(json.dumps(_json(facts), indent=1), encoding="utf-8")


def add_calibration(folder: Path, file: str, made: Made) -> None:
    """Adds to README.md what the calibration in this file of the folder is of, and what it gains."""
    of, gained = made.calibration.data, made.calibration.gain
    text = (
        "## Calibration\n\n"
        f"`{file}` has the calibration `{made.calibration.name}`, method {made.calibration.method}, of {of.criteria} "
        f"criteria of {of.groups} prompts that were held out. By cross-validation the log loss falls by "
        f"{_interval(gained.log_loss)} and the calibration error by {_interval(gained.ece)}. It belongs to the judge "
        f"`{made.calibration.judge}`: `make serve JUDGE={folder.name} ARGS='--calibration {folder.name}/{file}'`.\n"
    )
    card = folder / "README.md"
    card.write_text(f"{card.read_text(encoding='utf-8').rstrip()}\n\n{text}", encoding="utf-8")


def _interval(one: wire.Interval) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def card(name: str, facts: Facts) -> str:
    """The card as markdown."""
    of_hub = not Path(facts.base).is_dir()
    base = facts.base if of_hub else Path(facts.base).name
    head = ["---", *([f"base_model: {base}"] if of_hub else []), "library_name: transformers", "tags: [rubricd, judge]"]
    labels = " and ".join(f"`{one}`" for one in facts.rendered.labels)
    left_out = "".join(f" {count} criteria were left out: {why}." for why, count in sorted(facts.left_out.items()))
    return "\n".join(
        [
            *head,
            "---",
            "",
            f"# {name}",
            "",
            f"A judge for rubricd, trained from `{base}` by `rubricd distill` to answer {labels} in one token to the "
            f"prompt `{facts.rendered.prompt}` (digest `{facts.rendered.digest}`). {_source(facts)}",
            "",
            f"It learned from {facts.learned} criteria; {facts.held_out} of other prompts chose the weights.{left_out} "
            f"Data digest `{facts.digest[:16]}`.",
            "",
            "## Agreement",
            "",
            "On rows that were not learned from, with 95 % intervals by bootstrap over prompts. Rows that chose the "
            "weights flatter it a little; rows given with `--test` do not.",
            "",
            *_table(facts.agreements),
            "",
            f"The labels hold {facts.label_mass:.3f} of the probability of all tokens, in the mean.",
            "",
            "## Cost of a verdict",
            "",
            *_costs(facts),
            "",
            "## Serve it",
            "",
            f"`make serve JUDGE={name}`, with the settings of prompt and labels that it was trained with; with "
            "others it is another judge, of which nothing here is true. It learned with both classes weighed alike, so "
            "its P(met) means what its calibration says, and without one a threshold means nothing.",
            "",
        ]
    )


def _source(facts: Facts) -> str:
    if facts.teacher is None:
        return "It learned labels."
    teacher = facts.teacher
    toy = ", a toy" if teacher.toy else ""
    return (
        f"It learned the verdicts of {Path(teacher.model).name}{toy}, fingerprint `{teacher.fingerprint}`, in mode "
        f"{teacher.mode}."
    )


def _table(agreements: Sequence[Agreement]) -> list[str]:
    lines = ["| rows | against | figure | before | after |", "|---|---|---|---|---|"]
    for one in agreements:
        for name, shown in _NAMES.items():
            before, after = one.before[name], one.after[name]
            lines.append(f"| {one.rows} ({after.n}) | {one.against} | {shown} | {_figure(before)} | {_figure(after)} |")
        lines.append(f"| {one.rows} ({one.gain.n}) | {one.against} | gain in AUROC | | {_figure(one.gain)} |")
    return lines


def _figure(one: Figure) -> str:
    if one.value is None:
        return "none"
    return text(one)


def _costs(facts: Facts) -> list[str]:
    lines = ["| judge | tokens | seconds |", "|---|---|---|"]
    if facts.teacher_cost is not None:
        lines.append(f"| teacher | {facts.teacher_cost.tokens:.0f} | {facts.teacher_cost.seconds:.4f} |")
    lines.append(f"| this one | {facts.cost.tokens:.0f} | {facts.cost.seconds:.4f} |")
    about = "Tokens computed or written for each criterion; what criteria share is counted once. Seconds are of the "
    about += "teacher's service, and of this machine without a service: they say the order of size."
    return [*lines, "", about]


def _json(facts: Facts) -> dict[str, Any]:
    found = asdict(facts)
    found["teacher"] = None if facts.teacher is None else facts.teacher.model_dump(mode="json")
    found["base"] = Path(facts.base).name if Path(facts.base).is_dir() else facts.base
    del found["rendered"]["items"]
    return found

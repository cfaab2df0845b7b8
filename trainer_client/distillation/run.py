"""Runs a distillation from labelled rows to a folder that serves: rendering, training, figures, card.

    OUT/                  the judge: weights, tokenizer files, README.md, distillation.json
    OUT.work/             run.json, before.json (what the base says of the rows that are not learned from), the
                          teacher's verdicts, and checkpoints until the judge is written

Guarantees: a run that was interrupted goes on from its last checkpoint, with the rows, targets and recipe that it began
with, or not at all. OUT is written last.
"""

import json
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer_client.distillation import card, examples, outcome, packing, rendering, training
from trainer_client.distillation.examples import Example, Examples
from trainer_client.distillation.packing import Row
from trainer_client.distillation.rendering import Rendered
from trainer_client.distillation.teacher import Cost, Taught
from trainer_client.distillation.training import JudgeTrainer, Predictions, Recipe
from trainer_client.errors import DataError
from trainer_client.labels import Labels
from trainer_client.labels.labelled import digest

MAX_TOKENS = 8192
"""Longer prompts are left out: a step's memory grows with its longest row."""
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.json", "merges.txt", "tokenizer.model", "generation_config.json"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to distill. `taught` are a teacher's verdicts, None where the labels are learned; `test` are labelled rows
    that nothing is chosen by."""

    base: str
    out: Path
    render: Sequence[str]
    recipe: Recipe
    held_out: float
    labels: Labels
    test: Labels | None
    taught: Taught | None


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of each part, the prompts that they come from, and the groups that are held out."""

    rendered: Rendered
    groups: frozenset[str]
    learned: list[Row]
    held_out: list[Row]
    test: list[Row]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Distilled:
    """How well the judge that was written agrees, and the labelled rows that it did not learn from."""

    agreements: list[outcome.Agreement]
    held_out: Labels


def work_folder(out: Path) -> Path:
    """Where a run keeps what it needs to go on."""
    return out.with_name(f"{out.name}.work")


def make_folder(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)


def run(plan: Plan, say: Callable[[str], None]) -> Distilled:
    """Trains and writes the judge. Raises DataError."""
    packed = training.can_be_packed(plan.base)
    rows = _rows(plan, packed)
    tokens = sum(len(row.ids) for row in rows.learned)
    say(
        f"{_count(rows.learned)} criteria to learn in {len(rows.learned)} rows, {tokens} tokens an epoch; "
        f"{_count(rows.held_out)} held out, {_count(rows.test)} to test"
    )
    work = work_folder(plan.out)
    begin(work, plan, rows.rendered.digest)
    model, dtype = training.load(plan.base, plan.recipe.lora)
    trainer = training.trainer(
        model,
        rows.learned,
        rows.held_out,
        label_ids=rows.rendered.label_ids,
        recipe=plan.recipe,
        folder=work / "checkpoints",
        packed=packed,
    )
    last = checkpoint(work / "checkpoints")
    before = _before(work / "before.json", trainer, rows, again=last is not None)
    trainer.train(resume_from_checkpoint=last)
    started = time.perf_counter()
    after = _predicted(trainer, rows)
    seconds = time.perf_counter() - started
    asked = [*rows.held_out, *rows.test]
    cost = Cost(sum(len(row.ids) for row in asked) / _count(asked), seconds / _count(asked))
    found = _agreements(plan, rows, before, after)
    _write(plan, rows, trainer, dtype, found, after, cost)
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    return Distilled(found, labels_of(plan.labels, rows.groups))


def labels_of(labels: Labels, groups: Collection[str]) -> Labels:
    """The labelled rows of these groups."""
    items = tuple(one for one in labels.items if one.group in groups)
    return replace(labels, items=items, digest=digest([labels.digest, sorted(groups)]))


def _rows(plan: Plan, packed: bool) -> _Rows:
    rendered = rendering.render([one.item for one in plan.labels.items], plan.render)
    targets = examples.label_targets(plan.labels) if plan.taught is None else plan.taught.targets
    whole = examples.examples(plan.labels, rendered, targets, MAX_TOKENS)
    learned, held_out = examples.split(whole.examples, plan.held_out, plan.recipe.seed)
    if not learned or not held_out:
        raise DataError("too few prompts: rows of one prompt stay together, and some are held out; give more prompts")
    for one in ("learned", "held out"):
        some = learned if one == "learned" else held_out
        if len({example.target >= outcome.CERTAIN for example in some}) < 2:
            raise DataError(f"all criteria to be {one} are met, or none is; give rows of both kinds")
    test = _tested(plan)
    return _Rows(
        rendered,
        frozenset(example.group for example in held_out),
        packing.rows(learned, packed=packed, seed=plan.recipe.seed),
        packing.rows(held_out, packed=packed),
        packing.rows(test.examples, packed=packed) if test.examples else [],
        dict(whole.left_out),
    )


def _tested(plan: Plan) -> Examples:
    if plan.test is None:
        return Examples((), {})
    rendered = rendering.render([one.item for one in plan.test.items], plan.render)
    return examples.examples(plan.test, rendered, examples.label_targets(plan.test), MAX_TOKENS)


def begin(work: Path, plan: Plan, prompt: str) -> None:
    """Writes run.json, or compares with the one of the run that is continued; `prompt` is the prompt's digest. Raises
    DataError."""
    now = {
        "labels": plan.labels.digest,
        "test": None if plan.test is None else plan.test.digest,
        "base": plan.base,
        "prompt": prompt,
        "teacher": None if plan.taught is None else plan.taught.judge.fingerprint,
        "held_out": plan.held_out,
        **asdict(plan.recipe),
    }
    path = work / "run.json"
    if path.exists() and checkpoint(work / "checkpoints") is not None:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in now if before.get(name) != now[name])
        if changed:
            raise DataError(
                f"{work} holds a run with another {', '.join(changed)}; undo that, name another --out, or remove the "
                "folder"
            )
    make_folder(work)
    path.write_text(json.dumps(now, indent=1), encoding="utf-8")


def checkpoint(folder: Path) -> str | None:
    """The last complete checkpoint: the trainer writes its state file last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if last is None else str(last)


def _before(path: Path, trainer: JudgeTrainer, rows: _Rows, *, again: bool) -> list[Predictions]:
    """What the base says; a run that goes on reads what it said at the beginning."""
    if again and path.exists():
        return [Predictions(np.array(p), np.array(mass)) for p, mass in json.loads(path.read_text(encoding="utf-8"))]
    found = _predicted(trainer, rows)
    path.write_text(json.dumps([[one.p.tolist(), one.label_mass.tolist()] for one in found]), encoding="utf-8")
    return found


def _predicted(trainer: JudgeTrainer, rows: _Rows) -> list[Predictions]:
    return [training.predict(trainer, part) for part in (rows.held_out, rows.test) if part]


def _agreements(
    plan: Plan, rows: _Rows, before: Sequence[Predictions], after: Sequence[Predictions]
) -> list[outcome.Agreement]:
    parts = [("held out", rows.held_out, plan.taught is not None)]
    if rows.test:
        parts.append(("test", rows.test, False))
    return [
        found
        for (name, part, taught), one, other in zip(parts, before, after, strict=True)
        for found in outcome.agreements(name, _examples(part), one.p, other.p, taught)
    ]


def _write(
    plan: Plan,
    rows: _Rows,
    trainer: JudgeTrainer,
    dtype: Any,
    found: list[outcome.Agreement],
    after: Sequence[Predictions],
    cost: Cost,
) -> None:
    partial = plan.out.with_name(f"{plan.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    training.save(trainer.model, dtype, partial)
    source = _folder(plan.base)
    for name in _TOKENIZER_FILES:  # as they are: a tokenizer that is saved again may read other ids
        if (source / name).is_file():
            shutil.copyfile(source / name, partial / name)
    facts = card.Facts(
        base=plan.base,
        rendered=rows.rendered,
        digest=plan.labels.digest,
        learned=_count(rows.learned),
        held_out=_count(rows.held_out),
        left_out=rows.left_out,
        recipe=asdict(plan.recipe),
        teacher=None if plan.taught is None else plan.taught.judge,
        teacher_cost=None if plan.taught is None else plan.taught.cost,
        cost=cost,
        label_mass=float(after[0].label_mass.mean()),
        agreements=found,
    )
    card.write(partial, plan.out.name, facts)
    partial.rename(plan.out)


def _folder(base: str) -> Path:
    """The folder of the base's files, those of the hub from its cache."""
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(base, allow_patterns=list(_TOKENIZER_FILES)))


def _examples(rows: Sequence[Row]) -> list[Example]:
    return [one for row in rows for one in row.examples]


def _count(rows: Sequence[Row]) -> int:
    return sum(len(row.examples) for row in rows)

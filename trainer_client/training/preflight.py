"""Checks packages, rows, the judge and the run's folder before anything is loaded, and plans the training.

Guarantees: a training does not begin where a row can never have a score or the judge lacks what the run config needs;
the error names the place and what to change. The order of all rows is decided here. `prepare` writes nothing and needs
no torch.
"""

import asyncio
import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.client import Failed, reward
from trainer_client.data import notes
from trainer_client.data.reader import Law
from trainer_client.data.rows import Row, placed_rows, training_order
from trainer_client.errors import DataError, JudgeMismatch
from trainer_client.reward_client import JudgeConfig, why_missing
from trainer_client.rubric_folder import RubricFolder
from trainer_client.training.presets import GENERIC
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfig, RunConfigError
from trainer_client.training.run.sections import JudgingSection
from trainer_client.trl import reporting


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among the processes of `accelerate launch`."""

    rank: int
    count: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Processes":
        return cls(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Returns whether this is the process that writes the run's folder."""
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A training that can begin. `order` holds the rows of `steps` batches, one after the other."""

    run: RunConfig
    out: Path
    order: list[Row]
    eval_rows: list[Row]
    steps: int
    judging: JudgeConfig
    judge: dict[str, Any]
    trial_failure: str | None
    """The reason why an empty answer to the first row has no score; None if it has one."""
    examining: JudgeConfig | None
    examiner: dict[str, Any] | None
    checkpoint: Path | None
    processes: Processes
    data: Mapping[str, Any]
    """The digests of the rows, as data.json holds them."""


_NEEDED = ("trl", "peft", "datasets", "accelerate")
_INSTALLED_BY = {"trl": "rubricd[train]", "peft": "rubricd[train]", "datasets": "rubricd[train]"}
_INSTALLED_BY |= {"accelerate": "rubricd[train]", "liger_kernel": "liger-kernel", "comet_ml": "comet-ml"}


def prepare(run: RunConfig, *, resume: bool, another_judge: bool = False, toy_judge: bool = False) -> Plan:
    """Checks everything that needs no policy and returns the plan. Raises RunConfigError, DataError or another
    RubricdClientError."""
    out, processes = Path(run.out), Processes.of(os.environ)
    check_packages(run.trl)
    started = (out / "run.yaml").exists()
    if processes.first:
        _check_folder(out, resume)
    rows, eval_rows = rows_of(run, run.data), rows_of(run, run.eval_data) if run.eval_data else []
    _check_names(run, rows)
    steps, order = _order(run, rows)
    if run.eval_data and run.eval_every is not None and run.eval_every > steps:
        raise RunConfigError(f"`eval_every` ({run.eval_every}) exceeds the {steps} batches of this run; lower it")
    data = {"train": run_dir.digest(order), "eval": run_dir.digest(eval_rows)}
    if processes.first and started:
        run_dir.check_same(out, run, data)
    checkpoint = run_dir.checkpoint(out) if resume else None
    judge, judging, trial_failure = _checked(run, "judging", run.judging, [*rows, *eval_rows], toy_judge)
    _check_judge(run_dir.judges(out) if checkpoint else [], judge, another_judge)
    examiner = examining = None
    if run.examiner is not None:
        _check_categories(run.examiner, ", ".join(run.eval_data or []), eval_rows)
        examiner, examining, _ = _checked(run, "examiner", run.examiner, eval_rows, toy_judge)
        _check_judge(run_dir.judges(out, "examiners") if checkpoint else [], examiner, another_judge)
    return Plan(
        run=run,
        out=out,
        order=order,
        eval_rows=eval_rows,
        steps=steps,
        judging=judging,
        judge=judge,
        trial_failure=trial_failure,
        examining=examining,
        examiner=examiner,
        checkpoint=checkpoint,
        processes=processes,
        data=data,
    )


def _checked(
    run: RunConfig, name: str, part: JudgingSection, rows: Sequence[Row], toy_judge: bool
) -> tuple[dict[str, Any], JudgeConfig, str | None]:
    """The judge's identity, its config with that fingerprint, and why an empty answer has no score."""
    asked = part.config(os.environ, expect_judge=part.expect_judge, pitfalls=run.pitfalls)
    judge, trial_failure = asyncio.run(_judge(name, part, asked, rows, run.most_evolved))
    if judge["toy"] and not toy_judge:
        raise RunConfigError(
            f"`{name}`: the service's judge, {judge['model']}, is a toy and its rewards mean nothing; start the "
            "service with a real `judge`, or say --toy-judge for a demonstration"
        )
    judging = part.config(os.environ, expect_judge=judge["fingerprint"], pitfalls=run.pitfalls)
    ledger = Path(run.out) / "ledger" if run.ledger else None
    return judge, replace(judging, ledger=ledger), trial_failure


def begin(plan: Plan) -> None:
    """Writes the first files of the run's folder, in the first process."""
    if not plan.processes.first:
        return
    step = 0 if plan.checkpoint is None else run_dir.step_of(plan.checkpoint)
    run_dir.start(plan.out, plan.run, plan.data)
    run_dir.write_judge(plan.out, plan.judge, step)
    if plan.examiner is not None:
        run_dir.write_judge(plan.out, plan.examiner, step, "examiners")
    run_dir.drop_after(plan.out, step)


def check_packages(trl: Mapping[str, Any]) -> None:
    """Raises RunConfigError where a package is missing that this run needs."""
    reports = trl.get("report_to") or []
    reports = [reports] if isinstance(reports, str) else reports
    needed = [*_NEEDED, *(str(name) for name in reports if name in reporting.PACKAGES)]
    needed += [name for name, field in (("vllm", "use_vllm"), ("liger_kernel", "use_liger_kernel")) if trl.get(field)]
    if trl.get("deepspeed"):
        needed.append("deepspeed")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(dict.fromkeys(f"'{_INSTALLED_BY.get(name, name)}'" for name in missing))
        raise RunConfigError(f"this run needs {', '.join(missing)}: pip install {names}")
    if "wandb" in reports and not reporting.wandb_is_set_up(os.environ):
        raise RunConfigError("`trl.report_to`: wandb has no key; run `wandb login`, or set WANDB_MODE=offline")


def _check_folder(out: Path, resume: bool) -> None:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise RunConfigError(f"`out`: {there} is a file; name a folder")
    if not os.access(there, os.W_OK):
        raise RunConfigError(f"`out`: {there} may not be written; name another folder")
    if not resume and out.exists() and any(out.iterdir()):
        raise RunConfigError(f"{out} exists; continue it with --resume, or name another folder with --out")


def rows_of(run: RunConfig, paths: Sequence[str]) -> list[Row]:
    """The rows of the files with the rubric and the reference that this run uses. Raises DataError."""
    stored = None if run.rubric_folder is None else RubricFolder(run.rubric_folder).get
    law = Law(pitfalls=run.pitfalls, stored=stored)
    if Processes.of(os.environ).first:
        law = replace(law, say=notes.once())
    rows = [_prepared(run, place, row) for place, row in placed_rows(*paths, law=law)]
    if not rows:
        raise DataError(f"{', '.join(paths)}: holds no rows")
    return rows


def _prepared(run: RunConfig, place: str, row: Row) -> Row:
    rubric, reference = row.rubric, row.reference if run.reference == "needed" else None
    if run.rubric == "generic":
        rubric = wire.Rubric.model_validate({"criteria": [dict(one) for one in GENERIC]})
    elif run.rubric == "none":
        rubric = None
    if run.reference == "needed" and reference is None:
        raise DataError(f"{place}, row {row.id}: has no reference answer; leave the row out or set `reference: hidden`")
    if run.rubric == "own" and (problem := _no_score(run, rubric)):
        raise DataError(f"{place}, row {row.id}: {problem}")
    return replace(row, rubric=rubric, reference=reference)


def _no_score(run: RunConfig, rubric: wire.Rubric | None) -> str | None:
    """The reason why no answer to a row with this rubric can have a score; None where one can."""
    if rubric is None:
        return None if run.judging.mode == "likert" else "has no `rubric`; leave the row out or set `rubric: generic`"
    if not rubric.counted():
        return "every criterion has 0 points; leave the row out or give it points"
    return _no_category(run.judging, rubric)


def _no_category(part: JudgingSection, rubric: wire.Rubric) -> str | None:
    if wire.aggregation_name(part.aggregation) == "rar_explicit" and (lacking := rubric.lacking_category()):
        return (
            f"`rar_explicit` weighs by category and criterion {lacking[0]} has none; begin its text with "
            "`Essential Criteria: ` or another category, or give it the tag `category`"
        )
    return None


def _check_categories(examiner: JudgingSection, path: str, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.rubric is not None and (problem := _no_category(examiner, row.rubric)):
            raise DataError(f"{path}, row {row.id}: {problem}")


def _check_names(run: RunConfig, rows: Sequence[Row]) -> None:
    """A name that no criterion has would protect nothing, and reveal what it should hold back."""
    said = {
        "scaffold.first": run.scaffold.first or (),
        "scaffold.last": run.scaffold.last or (),
        "rubric_dropout.protect": () if run.rubric_dropout is None else run.rubric_dropout.protect,
    }
    for field, names in said.items():
        for name in names:
            if not any(
                one.is_one_of({name}, place)
                for row in rows
                if row.rubric
                for place, one in enumerate(row.rubric.criteria)
            ):
                raise RunConfigError(
                    f"`{field}`: no criterion of the rows has the name {name!r}; write an id, a category, a tag as "
                    "`key:value`, or a tag's key"
                )


def _order(run: RunConfig, rows: Sequence[Row]) -> tuple[int, list[Row]]:
    """The number of batches, and their rows."""
    batches = len(rows) // run.prompts_per_batch
    if not batches:
        raise DataError(
            f"{', '.join(run.data)}: holds {len(rows)} rows and a batch takes {run.prompts_per_batch}; lower "
            "`prompts_per_batch` and `mini_batch`"
        )
    steps = run.steps if run.steps is not None else batches * (run.epochs or 1)
    order = training_order(rows, epochs=math.ceil(steps / batches), seed=run.seed, batch=run.prompts_per_batch)
    return steps, order[: steps * run.prompts_per_batch]


async def _judge(
    name: str, part: JudgingSection, judging: JudgeConfig, rows: Sequence[Row], more: int
) -> tuple[dict[str, Any], str | None]:
    """Returns the judge's identity, and the reason why an empty answer to the first row has no score, if it has none.
    It is scored so that a wrong key or option is found now."""
    mode, layout = part.mode, part.layout
    async with judging.client() as client:
        info = await client.judge(part.judge)
        if mode not in info.modes or layout not in info.layouts:
            raise RunConfigError(
                f"`{name}`: this judge offers the modes {', '.join(info.modes)} and the layouts "
                f"{', '.join(info.layouts)}, not {mode} and {layout}"
            )
        longest = max(rows, key=lambda row: len(row.rubric.criteria) if row.rubric else 0)
        if longest.rubric is not None and len(longest.rubric.criteria) + more > info.limits.max_criteria:
            evolved = f", {more} more may evolve" if more else ""
            raise DataError(
                f"row {longest.id}: has {len(longest.rubric.criteria)} criteria{evolved} and this judge takes "
                f"{info.limits.max_criteria}; leave it out, or raise the service's `max_criteria`"
            )
        item = {
            "prompt": [dict(message) for message in rows[0].messages],
            "response": "",
            "rubric": rows[0].rubric,
            "reference": rows[0].reference,
            "documents": list(rows[0].documents) or None,
        }
        (outcome,) = await client.score([item], **judging.options)
        if isinstance(outcome, Failed):
            raise outcome.error
    apart = {"judges", "exams", "modes", "layouts", "prompts", "unserved", "more", "limits", "fingerprint"}
    identity = info.model_dump(mode="json", exclude=apart)
    named = {"fingerprint": outcome.judge.fingerprint, "mode": mode, "layout": layout, "trust": outcome.judge.trust}
    judge = {**named, **identity}
    return judge, None if reward(outcome) is not None else why_missing(outcome)


def _check_judge(before: run_dir.Judges, now: Mapping[str, Any], another_judge: bool) -> None:
    if before and before[-1]["fingerprint"] != now["fingerprint"] and not another_judge:
        raise JudgeMismatch(
            f"this run was judged by {before[-1]['model']} ({before[-1]['fingerprint']}), and the service now has "
            f"{now['model']} ({now['fingerprint']}): scores of two judges are not one reward. Bring the first judge "
            "back, or continue with the new one by --another-judge"
        )

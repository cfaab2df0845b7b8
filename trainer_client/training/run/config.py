"""Reads the one file that describes a training: YAML, checked as a whole before anything is loaded.

Guarantees: an unknown field or a wrong value is an error that names its place and what to change. A field that the file
leaves out comes from its preset, and after reading every field has a value. What `written` wrote is read as the same
run. The table in `docs/guide/training.md` is written from the fields here.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from trainer_client import wire
from trainer_client.data.rows import Pitfalls
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Ratio, Scaffold, Schedule, Wording
from trainer_client.training import presets, yaml_fields
from trainer_client.training.mistakes import Mistakes
from trainer_client.training.presets import References, Rubrics
from trainer_client.training.run.sections import (
    EvolvingSection,
    FunctionSection,
    JudgingSection,
    LoraSection,
    OneOrMore,
    ProposerSection,
    RewardsSection,
    RubricDropoutSection,
    ScaffoldSection,
    Section,
    SftSection,
    WatchSection,
    WordingSection,
)
from trainer_client.training.yaml_fields import RunConfigError

__all__ = ["RunConfig", "RunConfigError", "read", "written"]

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
_MERGED = ("scaffold", "judging", "trl")


class RunConfig(Section):
    """A training, with a value for every field."""

    policy: str = Field(description="Folder, relative to this file, or hub name of the model to train.")
    data: OneOrMore = Field(description="Training rows: a file or folder of them (files.md), or a list of these.")
    out: str = Field(description="The run's folder.")
    judging: JudgingSection = Field(description="The judge service.")
    preset: str = Field(default="ruscarl", description="Gives the fields that the file leaves out.")
    eval_data: OneOrMore | None = Field(
        default=None, description="Held-out rows, evaluated from the bare prompt; like `data`."
    )
    examiner: JudgingSection | None = Field(
        default=None,
        description="A second judge of the held-out rows, who gives no rewards; fields left out are as in `judging`.",
    )
    pitfalls: Pitfalls | None = Field(
        default=None, description="Whether a met RaR pitfall is good: `met_is_good` or `met_is_bad`."
    )
    ledger: bool = Field(
        default=False, description="Whether a line for each verdict is added to files in the run's folder `ledger`."
    )
    rubric_folder: str | None = Field(
        default=None, description="Folder of stored rubrics, for rows that name one by its `ref`; null: none do."
    )
    rubric: Rubrics = Field(default="own", description="The row's `own`, four `generic` criteria, or `none`.")
    reference: References = Field(default="hidden", description="Reference answers: `hidden` or `needed` by the judge.")
    sft: SftSection | None = Field(
        default=None, description="First trains on the rows' reference answers; null: on rewards alone."
    )
    scaffold: ScaffoldSection = Field(default=ScaffoldSection(), description="How much of its rubric a rollout sees.")
    rubric_dropout: RubricDropoutSection | None = Field(
        default=None, description="Leaves criteria out of each group's reward: share, keep, protect; null: none."
    )
    evolving: EvolvingSection | None = Field(
        default=None, description="Adds criteria that a proposer writes from each group's answers; null: none."
    )
    rewards: RewardsSection = Field(default=RewardsSection(), description="One reward of a rollout, or several.")
    watch: WatchSection = Field(default=WatchSection(), description="Alarms about the rewards.")
    ratio: Ratio = Field(default="bare/bare", description="Prompts of the importance ratio, numerator/denominator.")
    kl: Literal["clamped", "plain"] = Field(
        default="clamped", description="TRL's KL term: `clamped` to 10 a token as in the paper's code, or `plain`."
    )
    steps: int | None = Field(default=None, ge=1, description="Batches of rollouts. Give this or `epochs`.")
    epochs: int | None = Field(default=None, ge=1, description="Passes over all rows. Give this or `steps`.")
    group: int = Field(default=8, ge=2, description="Rollouts of a prompt.")
    prompts_per_batch: int = Field(default=64, ge=1, description="Prompts of a batch of rollouts.")
    mini_batch: int = Field(default=64, ge=1, description="Prompts of an update; divides `prompts_per_batch`.")
    per_device: int = Field(default=8, ge=1, description="Rollouts in one pass of one process.")
    pipeline_parts: int = Field(
        default=1, ge=1, description="Parts of a batch; each is judged while the next is generated."
    )
    save_every: int = Field(default=50, ge=1, description="Batches between two checkpoints.")
    eval_every: int | None = Field(
        default=None, ge=1, description="Batches between two evaluations; with `eval_data` as `save_every`."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the order, the scaffold and the sampling.")
    dtype: Dtype = Field(default="float32", description="Type of the policy's weights.")
    lora: LoraSection | None = Field(default=None, description="Trains an adapter instead of all weights.")
    trl: dict[str, Any] = Field(default_factory=dict, description="Further settings of TRL's GRPOConfig.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        if self.prompts_per_batch % self.mini_batch:
            raise ValueError(
                f"`prompts_per_batch` ({self.prompts_per_batch}) must be a multiple of `mini_batch` ({self.mini_batch})"
            )
        if self.rewards.by != "total" and self.judging.mode not in ("verdict", "reasoned"):
            raise ValueError(f"rewards.by `{self.rewards.by}` needs verdicts: set judging.mode to verdict or reasoned")
        if self.eval_data is not None and self.eval_every is None:
            raise ValueError("`eval_data` would never be used: set `eval_every`, or leave `eval_data` out")
        for name, judge in (("judging", self.judging), ("examiner", self.examiner)):
            if judge is not None and judge.mode != "likert" and self.rubric == "none":
                raise ValueError(f"{name}.mode `{judge.mode}` needs a rubric: set `rubric` to own or generic")
        if self.rubric_dropout is not None and self.judging.mode == "likert":
            raise ValueError(
                "`rubric_dropout` needs a mode that reads the rubric: set judging.mode to verdict, or drop it"
            )
        compared = [kind for kind in self.watch.stop if kind in ("shortcut", "overclaimed")]
        if compared and self.examiner is None:
            raise ValueError(f"watch.stop `{compared[0]}` compares judges: give the run an `examiner`")
        if self.sft is not None and self.sft.batch > self.per_device and self.sft.batch % self.per_device:
            raise ValueError(f"sft.batch ({self.sft.batch}) must be a multiple of per_device ({self.per_device})")
        if self.evolving is not None and (why := self._cannot_evolve()):
            raise ValueError(f"`evolving` {why}")
        if self.examiner is not None and self.eval_data is None:
            raise ValueError("`examiner` judges held-out rows alone: set `eval_data`, or leave `examiner` out")
        if self.examiner is not None and self.examiner.scores_as(self.judging):
            raise ValueError("`examiner` would score as `judging` does: give it another `url`, `mode` or option")
        return self

    def _cannot_evolve(self) -> str | None:
        if self.judging.mode not in ("verdict", "reasoned"):
            return "needs verdicts on single criteria: set judging.mode to verdict or reasoned"
        if self.rewards.by != "total":
            return "changes the criteria of a row, and parts of a reward are fixed: set rewards.by to total"
        if wire.aggregation_name(self.judging.aggregation) == "rar_explicit":
            return "has criteria without a category, which `rar_explicit` needs: set judging.aggregation to another"
        return None

    @property
    def most_evolved(self) -> int:
        """The evolved criteria that a rubric may have at one time."""
        return 0 if self.evolving is None else self.evolving.active + self.evolving.propose

    @property
    def updates(self) -> int:
        """The optimiser steps that a batch of rollouts is used for."""
        return self.prompts_per_batch // self.mini_batch * int(self.trl.get("num_iterations", 1))

    def scaffolding(self) -> Scaffold:
        """The scaffold that the fields describe."""
        part = self.scaffold
        schedule = Schedule(
            within=part.within,
            over=part.over,
            full=self.group if part.full is None else part.full,
            start=part.start,
            steepness=part.steepness,
            exponent=part.exponent,
        )
        return Scaffold(
            schedule,
            Wording(**part.wording.model_dump()),
            nested=part.nested,
            seed=self.seed,
            place=part.place,
            choose=part.choose,
            first=tuple(part.first or ()),
            last=tuple(part.last or ()),
        )

    def dropout(self) -> RubricDropout | None:
        """The rubric dropout that the fields describe."""
        part = self.rubric_dropout
        return None if part is None else RubricDropout(part.share, part.keep, tuple(part.protect), seed=self.seed)

    def judge(self, environment: Mapping[str, str], *, expect_judge: str | None) -> JudgeConfig:
        """The judge that gives the rewards; its key is read from `environment`."""
        return self.judging.config(environment, expect_judge=expect_judge, pitfalls=self.pitfalls)


_SECTIONS: Mapping[str, type[Section]] = {
    "scaffold": ScaffoldSection,
    "wording": WordingSection,
    "judging": JudgingSection,
    "examiner": JudgingSection,
    "rewards": RewardsSection,
    "watch": WatchSection,
    "rubric_dropout": RubricDropoutSection,
    "evolving": EvolvingSection,
    "proposer": ProposerSection,
    "functions": FunctionSection,
    "lora": LoraSection,
}


_ELSEWHERE = {field: "trl" for preset in presets.PRESETS.values() for field in preset.trl} | {
    field: part for part in _MERGED if part in _SECTIONS for field in _SECTIONS[part].model_fields
}
_MISTAKES = Mistakes(RunConfig, _SECTIONS, _ELSEWHERE)


def read(path: Path, *, changes: Iterable[str] = (), out: Path | None = None) -> RunConfig:
    """Reads a file. `changes` are `key.path=value` and replace the file's values, `out` its folder. Raises
    RunConfigError."""
    return _read(path, changes, out, policy_needed=True)


def recorded(folder: Path) -> RunConfig:
    """Reads the config in a run's folder, which may lie on another machine than its policy by now. Raises
    RunConfigError."""
    return _read(folder / "run.yaml", (), None, policy_needed=False)


def _read(path: Path, changes: Iterable[str], out: Path | None, *, policy_needed: bool) -> RunConfig:
    document = yaml_fields.loaded(path)
    for change in changes:
        yaml_fields.change(document, change)
    if out is not None:
        document["out"] = str(out.absolute())
    try:
        run = RunConfig.model_validate(_with_preset(document))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise RunConfigError("\n".join(f"{path}: {_MISTAKES.sentence(one)}" for one in errors)) from None
    except RunConfigError as error:
        raise RunConfigError(f"{path}: {error}") from None
    folder = path.absolute().parent
    own = {"rewards": _found(run.rewards, folder), "evolving": _with_proposer(run.evolving, folder)}
    return run.model_copy(update={**_paths(run, folder, policy_needed), **own})


def written(run: RunConfig) -> str:
    """The run config as YAML, with every field."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output, yaml.width = False, False, 4096
    yaml.dump(run.model_dump(mode="json"), text)
    return text.getvalue()


def _with_preset(document: Mapping[str, Any]) -> dict[str, Any]:
    name = document.get("preset", "ruscarl")
    if not isinstance(name, str) or name not in presets.PRESETS:
        close = get_close_matches(str(name), presets.PRESETS, n=1)
        hint = f"did you mean {close[0]}? It " if close else ""
        raise RunConfigError(f"`preset`: {hint}must be one of {', '.join(presets.PRESETS)}")
    whole = presets.settings(name, str(document.get("policy", "")))
    if document.get("steps") is not None or document.get("epochs") is not None:
        whole.pop("steps", None)
        whole.pop("epochs", None)
    if document.get("lora") is not None:
        whole["trl"]["learning_rate"] = presets.LORA_LEARNING_RATE
    if document.get("eval_data") is not None:
        whole.setdefault("eval_every", document.get("save_every", whole.get("save_every", 50)))
    for key, value in document.items():
        merged = key in _MERGED and isinstance(value, dict)
        whole[key] = {**whole.get(key, {}), **value} if merged else value
    if isinstance(document.get("examiner"), dict) and isinstance(whole.get("judging"), dict):
        # No run ends because of it, and another judge has another fingerprint.
        own = {**whole["judging"], "max_missing_fraction": 1.0, "expect_judge": None}
        whole["examiner"] = {**own, **document["examiner"]}
    return whole


def _paths(run: RunConfig, folder: Path, policy_needed: bool) -> dict[str, Any]:
    """The paths, taken as relative to the file's folder. A policy that is no folder there is a hub name."""
    policy = folder / run.policy
    if policy_needed and not policy.is_dir() and (run.policy.startswith((".", "/", "~")) or run.policy.count("/") > 1):
        raise RunConfigError(f"`policy`: no folder {policy}")
    return {
        "policy": str(policy.resolve()) if policy.is_dir() else run.policy,
        "data": [str(folder / one) for one in run.data],
        "eval_data": None if run.eval_data is None else [str(folder / one) for one in run.eval_data],
        "out": str(folder / run.out),
        "sft": None if run.sft is None else run.sft.model_copy(update={"data": _below(folder, run.sft.data)}),
        "rubric_folder": None if run.rubric_folder is None else str(folder / run.rubric_folder),
    }


def _with_proposer(evolving: EvolvingSection | None, folder: Path) -> EvolvingSection | None:
    """The section, with a proposer in a file taken as relative to the run config's folder."""
    if evolving is None or ".py:" not in (evolving.proposer.call or ""):
        return evolving
    proposer = evolving.proposer.model_copy(update={"call": str(folder / str(evolving.proposer.call))})
    return evolving.model_copy(update={"proposer": proposer})


def _below(folder: Path, data: Sequence[str] | None) -> list[str] | None:
    return None if data is None else [str(folder / one) for one in data]


def _found(rewards: RewardsSection, folder: Path) -> RewardsSection:
    """The rewards, with functions of files taken as relative to the run config's folder."""
    found = [
        one.model_copy(update={"call": str(folder / one.call)}) if ".py:" in one.call else one
        for one in rewards.functions
    ]
    return rewards.model_copy(update={"functions": found})

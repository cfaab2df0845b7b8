"""The ways to train that are held beside each other, and the setting that they share.

Guarantees: Arms differ in what is revealed, in the importance ratio, in what the judge is asked, and in the learning
rate found for the first three by the same search, and in nothing else: the same rows in the same order, the same number
of rollouts and updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolution
from trainer_client.perturbation.rubrics import Kind
from trainer_client.scaffold import Schedule

GROUP = 8
Kl = Literal["clamped", "plain"]
Reward = Literal["judge", "truth", "shortcut", "erring"]


@dataclass(frozen=True, slots=True)
class Arm:
    """`ratio`: the prompts of the importance ratio, as in `trainer_client.trl.trainer`. `mixed_up`: the share of
    prompts whose scaffold is of another prompt's rubric. `in_order`: the criteria shown are not any. `asked`: the
    options of the scoring request; with `referenced` it has the topic's reference answer. `noise` worsens every rubric
    before the training, for scaffold and reward."""

    about: str
    schedule: Schedule
    ratio: str = "bare/bare"
    rate: float = 6e-4
    mixed_up: float = 0.0
    in_order: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    referenced: bool = False
    noise: Kind | None = None
    dropout: RubricDropout | None = None
    evolution: Evolution | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """`steps` batches of `prompts_per_batch` prompts x GROUP rollouts, one update each, sampled at `temperature` and
    `top_p`. `beta` weighs the KL term against the policy that training began with, which is bounded as in the paper's
    code (`clamped`) or TRL's own (`plain`). The reward is the judge's word, the exact oracle's (`truth`), that of an
    oracle with a `shortcut`, or that of a judge that is `erring` so that it agrees with the truth to `agreement`
    (miniature/experiment/erring_judge.py). `ruled` adds a rule against malformed steps to every rubric.
    `truncation_penalty` is subtracted from the reward of answers that were cut off at `longest` tokens."""

    steps: int = 100
    prompts_per_batch: int = 8
    beta: float = 0.05
    kl: Kl = "clamped"
    reward: Reward = "judge"
    agreement: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    ruled: bool = False
    longest: int = 64
    truncation_penalty: float = 0.25
    judge_timeout_s: float = 120.0

    @property
    def differences(self) -> str:
        """What is not as by default, as the end of a run's name: "-truth-beta0.001"; empty where everything is."""
        default = Setting()
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        return "".join(_part(name, value) for name, value in own.items() if value != getattr(default, name))


def _part(name: str, value: str | float) -> str:
    if isinstance(value, bool):
        return f"-{'' if value else 'not-'}{name}"
    return f"-{value}" if isinstance(value, str) else f"-{name}{value:g}"


_START, _LATE, _STEEPNESS = 0.45, 0.7, 20.0
_SCAFFOLD = Schedule(start=_START, steepness=_STEEPNESS)
_NORM = {"rating_norm": "(r-1)/9"}
_EVOLUTION = Evolution(every=5, propose=1, active=3)
_NOISE: tuple[Kind, ...] = ("inverse", "negated", "ambiguous", "contradictory", "half")

ARMS: Mapping[str, Arm] = {
    "ruscarl": Arm("less for each member, less over time", _SCAFFOLD),
    "rubric-rl": Arm("no scaffold", Schedule(over="none")),
    "merf": Arm(
        "everything shown to everybody, always, and trained on",
        Schedule("binary", "constant", full=GROUP),
        ratio="scaffold/scaffold",
        rate=1.2e-3,
    ),
    "ruscarl-late": Arm("as ruscarl, fading later", replace(_SCAFFOLD, start=_LATE)),
    "binary-4": Arm(
        "as ruscarl, everything to half of the group", replace(_SCAFFOLD, within="binary", full=GROUP // 2)
    ),
    "mixed-up": Arm("as ruscarl, half of the prompts with another prompt's rubric", _SCAFFOLD, mixed_up=0.5),
    "mixed-up-constant": Arm("the same, never fading", Schedule(over="constant"), mixed_up=0.5),
    "math-linear": Arm(
        "as ruscarl, criteria in their order, as the released code's `math_linear`", _SCAFFOLD, in_order=True
    ),
    "decay-linear": Arm("as ruscarl, fading linearly", Schedule(over="linear")),
    "decay-constant": Arm("as ruscarl, never fading", Schedule(over="constant")),
    "scaffold-scaffold": Arm("as ruscarl, trained on the scaffolded prompt", _SCAFFOLD, ratio="scaffold/scaffold"),
    "bare-scaffold": Arm("as ruscarl, with the unbiased importance ratio", _SCAFFOLD, ratio="bare/scaffold"),
    "rar-explicit": Arm("as ruscarl, by rar-explicit's formula", _SCAFFOLD, asked={"aggregation": "rar_explicit"}),
    "rar-implicit": Arm(
        "as ruscarl, by one rating of the whole rubric", _SCAFFOLD, asked={"mode": "implicit", **_NORM}
    ),
    "direct-likert": Arm("as ruscarl, by one rating without a rubric", _SCAFFOLD, asked={"mode": "likert", **_NORM}),
    "reference-likert": Arm(
        "as ruscarl, by one rating against a reference answer",
        _SCAFFOLD,
        asked={"mode": "likert", **_NORM},
        referenced=True,
    ),
    **{f"noise-{kind}": Arm(f"as ruscarl, its rubrics worsened: {kind}", _SCAFFOLD, noise=kind) for kind in _NOISE},
    "evolving": Arm("as ruscarl, with criteria against bad ideas that answers have", _SCAFFOLD, evolution=_EVOLUTION),
    "dropout": Arm("as ruscarl, with rubric dropout", _SCAFFOLD, dropout=RubricDropout()),
}

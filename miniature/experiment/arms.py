"""The ways to train that are held beside each other, and the one setting that they share.

Guarantees: Arms differ in the scaffold's schedule, in the importance ratio and in the learning rate found for each by
the same search, and in nothing else: the same rows in the same order, the same number of rollouts and updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainer_client.scaffold import Schedule

GROUP = 8
Kl = Literal["clamped", "plain"]


@dataclass(frozen=True, slots=True)
class Arm:
    """`ratio`: the prompts of the importance ratio, as in `trainer_client.trl.trainer`."""

    about: str
    schedule: Schedule
    ratio: str = "bare/bare"
    rate: float = 6e-4


@dataclass(frozen=True, slots=True)
class Setting:
    """`steps` batches of `prompts_per_batch` prompts x GROUP rollouts, one update each. `beta` weighs the KL term
    against the policy that training began with. It is TRL's (`plain`), as in the arms of the log: bounded as in the
    paper's code (`clamped`), it lets the policy learn to fool the bundled judge.
    `truncation_penalty` is subtracted from the reward of answers that were cut off at `longest` tokens."""

    steps: int = 100
    prompts_per_batch: int = 8
    beta: float = 0.05
    kl: Kl = "plain"
    longest: int = 64
    truncation_penalty: float = 0.25
    judge_timeout_s: float = 120.0


_START, _STEEPNESS = 0.45, 20.0

ARMS: Mapping[str, Arm] = {
    "ruscarl": Arm("less for each member, less over time", Schedule(start=_START, steepness=_STEEPNESS)),
    "rubric-rl": Arm("no scaffold", Schedule(over="none")),
    "merf": Arm(
        "everything shown to everybody, always, and trained on",
        Schedule("binary", "constant", full=GROUP),
        ratio="scaffold/scaffold",
        rate=1.2e-3,
    ),
    "decay-linear": Arm("as ruscarl, fading linearly", Schedule(over="linear")),
    "decay-constant": Arm("as ruscarl, never fading", Schedule(over="constant")),
    "scaffold-scaffold": Arm(
        "as ruscarl, trained on the scaffolded prompt",
        Schedule(start=_START, steepness=_STEEPNESS),
        ratio="scaffold/scaffold",
    ),
    "bare-scaffold": Arm(
        "as ruscarl, with the unbiased importance ratio",
        Schedule(start=_START, steepness=_STEEPNESS),
        ratio="bare/scaffold",
    ),
}

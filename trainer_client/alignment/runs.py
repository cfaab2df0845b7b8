"""Pairs what a policy answered to a prompt before its training with what it answered to the same prompt afterwards.

Guarantees: both answers of a pair are to the same prompt, word for word, and each answer is in at most one pair. The
judge is shown no rubric and no reference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from pydantic import ValidationError

from trainer_client.errors import DataError
from trainer_client.preferences.pairs import PreferencePair
from trainer_client.rollouts.logged import Rollout, prompt_id

LENGTHS = ("the later one is longer", "the later one is shorter", "both are as long")
_ALIKE = 0.1
"""Responses whose lengths differ by less than this share of the longer one count as equally long."""


@dataclass(frozen=True, slots=True)
class RunPairs:
    """`pairs` hold the later answer as the chosen one, since the question is whether the judge prefers it; `rewards`
    have both rewards of each pair, None where one was not logged. `steps` says in words what was compared."""

    pairs: tuple[PreferencePair, ...]
    rewards: tuple[tuple[float, float] | None, ...]
    characters: tuple[tuple[int, int], ...]
    steps: str


def ends_of(rollouts: Iterable[Rollout], steps: int) -> tuple[list[Rollout], list[Rollout], str]:
    """The rollouts of the first and of the last `steps` steps of one run, and which steps these are. Raises DataError
    where there are not two steps."""
    by_step: dict[int, list[Rollout]] = {}
    for one in rollouts:
        if one.step is None:
            raise DataError("these rollouts have no steps; give two logs, of answers before and after the training")
        by_step.setdefault(one.step, []).append(one)
    found = sorted(by_step)
    taken = min(steps, len(found) // 2)
    if not taken:
        raise DataError("the run has one step alone, and nothing to compare with it")
    first, last = found[:taken], found[-taken:]
    told = f"steps {first[0]} to {first[-1]} against {last[0]} to {last[-1]}"
    return [one for n in first for one in by_step[n]], [one for n in last for one in by_step[n]], told


def paired(
    before: Sequence[Rollout], after: Sequence[Rollout], told: str, *, prompts: int, each: int, seed: int = 0
) -> RunPairs:
    """At most `each` pairs of at most `prompts` prompts. Raises DataError where no prompt was answered twice."""
    earlier, later = _by_prompt(before), _by_prompt(after)
    common = [key for key in earlier if key in later]
    if not common:
        raise DataError(
            "no prompt was answered both before and after; take more --steps, or give two logs of answers to the same "
            "prompts"
        )
    drawn = common if len(common) <= prompts else Random(seed).sample(common, prompts)
    pairs, rewards, characters = [], [], []
    for key in drawn:
        for n, (old, new) in enumerate(list(zip(earlier[key], later[key], strict=False))[:each]):
            try:
                prompt = new.item().prompt
            except ValidationError:
                raise DataError(f"{new.place}: the log holds no prompt that can be sent to a judge") from None
            kind = _lengths(len(old.answer), len(new.answer))
            pairs.append(PreferencePair(f"{key}/{n}", key, kind, prompt, new.answer, old.answer, None, None))
            both = (_reward(old), _reward(new))
            rewards.append(None if both[0] is None or both[1] is None else (both[0], both[1]))
            characters.append((len(old.answer), len(new.answer)))
    return RunPairs(tuple(pairs), tuple(rewards), tuple(characters), told)


def _by_prompt(rollouts: Sequence[Rollout]) -> Mapping[str, list[Rollout]]:
    found: defaultdict[str, list[Rollout]] = defaultdict(list)
    for one in rollouts:
        found[prompt_id(one.prompt)].append(one)
    return found


def _reward(one: Rollout) -> float | None:
    """The score where there is one: a reward may hold other parts."""
    return one.score if one.score is not None else one.reward


def _lengths(before: int, after: int) -> str:
    if abs(after - before) <= _ALIKE * max(before, after):
        return LENGTHS[2]
    return LENGTHS[0] if after > before else LENGTHS[1]

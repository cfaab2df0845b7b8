"""Defines a logged rollout: what was asked, what was answered, and what the judge said of each criterion.

Guarantees: what a log does not hold is None. A criterion without a verdict has `met` None, whatever the reason.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer_client import wire

Turns = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class LoggedVerdict:
    """One criterion of a rollout. `points` are as counted, with the polarity applied; `status` is the wire's, and
    None where an older log has no verdict and does not say why; `p_raw` is P(met) before its calibration; `detail` is
    why there is no verdict, in words; `fingerprint` is the judge's. Of a graded criterion `level` is the place of the
    level or choice, `p_levels` are the probabilities of all, `p_levels_raw` those before a calibration of theirs,
    `value` is the expected share of its points, `levels` are their texts and `level_values` their shares of the
    points; `extracted` is what the judge read out of the response. `members` is what each judge of a composition
    said, as the service answers it."""

    id: str
    text: str | None
    points: float | None
    tags: Mapping[str, str]
    status: str | None
    met: bool | None
    p: float | None
    source: str | None
    explanation: str | None
    fingerprint: str | None
    p_raw: float | None = None
    detail: str | None = None
    level: int | None = None
    p_levels: Sequence[float] | None = None
    value: float | None = None
    levels: tuple[str, ...] = ()
    level_values: tuple[float, ...] = ()
    extracted: str | None = None
    members: Sequence[Mapping[str, Any]] = ()
    p_levels_raw: Sequence[float] | None = None

    @property
    def is_graded(self) -> bool:
        """Whether it is on levels or choices."""
        return self.level is not None or bool(self.level_values)

    @property
    def share(self) -> float | None:
        """The share of the criterion's points that the verdict earns, or costs where they are negative: the value of
        its level, or else 1 where it is met. None without a verdict, and where the value of the level is not known."""
        if self.met is None:
            return None
        if not self.is_graded:
            return float(self.met)
        known = self.level is not None and self.level < len(self.level_values)
        return self.level_values[self.level] if known and self.level is not None else None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response. `place` names the file and the row, `step` is the trainer's (optimiser steps in a run's folder),
    `group` is unique among all steps, `id` is that of the prompt's row. `status` is `ok` or why there is no score.
    `shown` are the places of the criteria that a scaffold revealed; it is empty for a bare prompt. `others` are the
    verdicts of judges that logged beside, by their name, such as the examiner's. `coverage` is the share of the points
    that were judged, `bounds` are the lowest and the highest score that the rest could give, and `detail` says in words
    why the whole response failed."""

    place: str
    step: int | None
    group: str
    id: str
    prompt: str | Turns
    response: str | Turns
    rubric: wire.Rubric | None
    reference: str | None
    criteria: tuple[LoggedVerdict, ...]
    status: str
    score: float | None
    reward: float | None
    advantage: float | None
    shown: tuple[int, ...] | None
    judge: str | None
    attempts: int | None
    others: Mapping[str, tuple[LoggedVerdict, ...]] = field(default_factory=dict)
    coverage: float | None = None
    bounds: tuple[float, float] | None = None
    detail: str | None = None
    documents: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The text of the response; of a trajectory, that of its last turn, if the assistant says it."""
        if isinstance(self.response, str):
            return self.response
        last = self.response[-1] if self.response else {}
        return str(last.get("content") or "") if last.get("role") == "assistant" else ""

    @property
    def question(self) -> str:
        """The text of the prompt's last turn."""
        return self.prompt if isinstance(self.prompt, str) else str(self.prompt[-1].get("content") or "")

    def item(self, response: str | None = None) -> wire.Item:
        """The rollout as an item to judge again, or another response to the same prompt. Raises pydantic's
        ValidationError where the log holds no such item."""
        prompt = self.prompt if isinstance(self.prompt, str) else list(self.prompt)
        own = self.response if isinstance(self.response, str) else list(self.response)
        shown = {"reference": self.reference, "documents": list(self.documents) or None}
        made = wire.Item.model_validate({"prompt": prompt, "response": own if response is None else response, **shown})
        # The rubric was validated when it was read, and one rubric is shared by many rollouts.
        return made.model_copy(update={"rubric": self.rubric})


def prompt_id(prompt: str | Turns) -> str:
    """What stands for the id of a prompt that has none: a digest of it."""
    text = prompt if isinstance(prompt, str) else json.dumps([*prompt], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

"""Escalation chooses which verdicts are judged a second time, in mode `reasoned`. Pure.

Guarantees: at most the budget is chosen, the most uncertain first; the same judgements give the same choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from service.modes.level_reading import NO_READINGS
from service.modes.modes import JudgingMode, ReasonedMode
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion
from service.settings import ModeSettings


@dataclass(frozen=True, slots=True)
class Escalation:
    """P(met) within `band` of one half, or an abstention, is uncertain. At most `share` of a request's judgements,
    rounded up, are judged again. A band of 0 switches it off."""

    band: float = 0.0
    share: float = 0.1

    @classmethod
    def of(cls, settings: ModeSettings) -> Self:
        return cls(settings.escalate_band, settings.escalate_share)

    def choose(self, judgements: Sequence[Judgement]) -> list[int]:
        """Indexes of those to judge again, most uncertain first."""
        if self.band <= 0:
            return []
        by_judge = [i for i, judgement in enumerate(judgements) if judgement.source != "rule"]
        uncertain = [i for i in by_judge if self._distance(judgements[i]) <= self.band]
        uncertain.sort(key=lambda i: (self._distance(judgements[i]), i))
        return uncertain[: math.ceil(self.share * len(by_judge))]

    @staticmethod
    def _distance(judgement: Judgement) -> float:
        """Distance of P(met) from one half; an abstention is as uncertain as can be."""
        if judgement.status == "abstained":
            return 0.0
        return math.inf if judgement.p is None else abs(judgement.p - 0.5)


OFF = Escalation()


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """The mode of a second judging, and the choice of what it judges."""

    judging_mode: JudgingMode
    escalation: Escalation

    def can_be_asked(self, criterion: Criterion) -> bool:
        """A value is extracted once: it has no P(met) that could be uncertain."""
        if criterion.plain:
            return True
        readings = self.judging_mode.readings if isinstance(self.judging_mode, ReasonedMode) else NO_READINGS
        return criterion.graded and len(criterion.options) <= readings.most_options

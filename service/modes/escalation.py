"""Which verdicts are worth asking again, in mode `reasoned`. Pure.

Always true: never more than the budget, the most uncertain first; the same judgements give the same choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.modes.modes import JudgingMode
from service.rubrics.judgement import Judgement


@dataclass(frozen=True, slots=True)
class Escalation:
    """P(met) within `band` of one half, or an abstention, is uncertain. `share` of a request's judgements, rounded up,
    may be asked again. A band of 0 switches it off."""

    band: float = 0.0
    share: float = 0.1

    def choose(self, judgements: Sequence[Judgement]) -> list[int]:
        """Indexes of those to ask again, most uncertain first."""
        if self.band <= 0:
            return []
        asked = [j for j, judgement in enumerate(judgements) if judgement.source != "rule"]
        uncertain = [j for j in asked if self._distance(judgements[j]) <= self.band]
        uncertain.sort(key=lambda j: (self._distance(judgements[j]), j))
        return uncertain[: math.ceil(self.share * len(asked))]

    @staticmethod
    def _distance(judgement: Judgement) -> float:
        """How far P(met) is from one half; an abstention is as uncertain as can be."""
        if judgement.status == "abstained":
            return 0.0
        return math.inf if judgement.p_raw is None else abs(judgement.p_raw - 0.5)


OFF = Escalation()


@dataclass(frozen=True, slots=True)
class Again:
    """The way in which a second opinion is asked for, and of what."""

    judging_mode: JudgingMode
    escalation: Escalation

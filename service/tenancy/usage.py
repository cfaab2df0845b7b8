"""Counts what each team used in this process since it started, for the team itself to ask.

Guarantees: a team without a request has used nothing; counting costs a few additions a request.
"""

from dataclasses import dataclass, field

from service.tenancy.divergence import Divergence


@dataclass(slots=True)
class TeamUse:
    """What was judged and found for one team. Tokens are the judge's, those that it computed and wrote. `dollars` are
    what servers reported for `priced` answers, and `unpriced` ones have no price. `shadows` has by the shadow's name on
    which criteria it differs."""

    responses: int = 0
    judgements: int = 0
    cache_hits: int = 0
    deduplicated: int = 0
    tokens: int = 0
    dollars: float = 0.0
    priced: int = 0
    unpriced: int = 0
    shadows: dict[str, Divergence] = field(default_factory=dict)

    @property
    def cost_reported(self) -> float | None:
        """In US dollars, of those answers that have a price."""
        return self.dollars if self.priced else None

    @property
    def cost(self) -> float | None:
        """In US dollars. None where anything has no price."""
        return None if self.unpriced else self.cost_reported


class UseByTeam:
    def __init__(self) -> None:
        self._uses: dict[str, TeamUse] = {}

    def of(self, team: str) -> TeamUse:
        return self._uses.setdefault(team, TeamUse())

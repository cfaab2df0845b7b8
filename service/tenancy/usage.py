"""Counts what each team used in this process since it started, for the team itself to ask.

Guarantees: a team without a request has used nothing; counting costs a few additions a request.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class TeamUse:
    """What was judged and found for one team. Tokens are the judge's, those that it computed and wrote;
    `cost` is in US dollars, None where its server named none."""

    responses: int = 0
    judgements: int = 0
    cache_hits: int = 0
    deduplicated: int = 0
    tokens: int = 0
    cost: float | None = None


class UseByTeam:
    def __init__(self) -> None:
        self._uses: dict[str, TeamUse] = {}

    def of(self, team: str) -> TeamUse:
        return self._uses.setdefault(team, TeamUse())

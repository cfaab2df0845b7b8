"""Tokens that wait, by team and class, and each one's share of the judge.

Always true: the sums are those of the tickets that wait; who has nothing waiting has no entry.
"""

from collections.abc import Mapping

from service.scheduling.flow import KIND_WEIGHTS, Flow, Kind


class Backlog:
    def __init__(self) -> None:
        self.tokens = 0
        self._by_team: dict[str, dict[Kind, int]] = {}
        self._weights: dict[str, float] = {}

    def add(self, flow: Flow, tokens: int) -> None:
        self._weights[flow.team] = flow.weight
        self._count(flow, tokens)

    def remove(self, flow: Flow, tokens: int) -> None:
        self._count(flow, -tokens)

    def of(self, flow: Flow) -> int:
        return self._by_team.get(flow.team, {}).get(flow.kind, 0)

    def of_team(self, team: str) -> int:
        return sum(self._by_team.get(team, {}).values())

    def by_class(self) -> Mapping[tuple[str, str], int]:
        return {(team, kind): tokens for team, kinds in self._by_team.items() for kind, tokens in kinds.items()}

    def share(self, flow: Flow) -> float:
        """What the flow gets of the judge while those that have work now, and itself, go on having it."""
        others = sum(weight for team, weight in self._weights.items() if team != flow.team)
        kinds = {flow.kind, *self._by_team.get(flow.team, {})}
        part = KIND_WEIGHTS[flow.kind] / sum(KIND_WEIGHTS[kind] for kind in kinds)
        return part * flow.weight / (flow.weight + others)

    def _count(self, flow: Flow, tokens: int) -> None:
        self.tokens += tokens
        by_kind = self._by_team.setdefault(flow.team, {})
        by_kind[flow.kind] = by_kind.get(flow.kind, 0) + tokens
        if not by_kind[flow.kind]:
            del by_kind[flow.kind]
        if not by_kind:
            del self._by_team[flow.team], self._weights[flow.team]

"""Tokens that wait, by team and class, and each one's share of the judge.

Always true: the sums are those of the tickets that wait; who has nothing waiting has no entry.
"""

from collections.abc import Mapping

from service.scheduling.fair_share import CLASS_WEIGHTS, PriorityClass, Tenant


class Backlog:
    def __init__(self) -> None:
        self.tokens = 0
        self._by_team: dict[str, dict[PriorityClass, int]] = {}
        self._weights: dict[str, float] = {}

    def add(self, tenant: Tenant, tokens: int) -> None:
        self._weights[tenant.team] = tenant.weight
        self._count(tenant, tokens)

    def remove(self, tenant: Tenant, tokens: int) -> None:
        self._count(tenant, -tokens)

    def of(self, tenant: Tenant) -> int:
        return self._by_team.get(tenant.team, {}).get(tenant.priority_class, 0)

    def of_team(self, team: str) -> int:
        return sum(self._by_team.get(team, {}).values())

    def by_class(self) -> Mapping[tuple[str, str], int]:
        return {(team, kind): tokens for team, kinds in self._by_team.items() for kind, tokens in kinds.items()}

    def share(self, tenant: Tenant) -> float:
        """What the flow gets of the judge while those that have work now, and itself, go on having it."""
        others = sum(weight for team, weight in self._weights.items() if team != tenant.team)
        kinds = {tenant.priority_class, *self._by_team.get(tenant.team, {})}
        part = CLASS_WEIGHTS[tenant.priority_class] / sum(CLASS_WEIGHTS[kind] for kind in kinds)
        return part * tenant.weight / (tenant.weight + others)

    def _count(self, tenant: Tenant, tokens: int) -> None:
        self.tokens += tokens
        by_kind = self._by_team.setdefault(tenant.team, {})
        by_kind[tenant.priority_class] = by_kind.get(tenant.priority_class, 0) + tokens
        if not by_kind[tenant.priority_class]:
            del by_kind[tenant.priority_class]
        if not by_kind:
            del self._by_team[tenant.team], self._weights[tenant.team]

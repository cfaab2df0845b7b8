"""A team is a tenant of the service, as the teams file describes it."""

from dataclasses import dataclass
from typing import get_args

from service.scheduling import PriorityClass

CLASSES: tuple[PriorityClass, ...] = get_args(PriorityClass)


@dataclass(frozen=True, slots=True)
class Team:
    """`weight` is its share of a busy judge. Teams of one `scope` share cached verdicts. `classes` are the priority
    classes that its requests may have. The quotas limit judge tokens a minute, judge tokens at a time, requests a
    minute, and the seconds that rule checks take in a minute; None is no limit."""

    name: str
    weight: float = 1.0
    scope: str = ""
    classes: frozenset[PriorityClass] = frozenset(CLASSES)
    tokens_per_minute: int | None = None
    concurrent_tokens: int | None = None
    requests_per_minute: int | None = None
    rule_seconds_per_minute: int | None = None


DEFAULT_TEAM = Team(name="default")
"""The team of every request where there is no teams file."""

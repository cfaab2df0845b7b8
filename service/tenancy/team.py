"""A team, as the deployment's owner configured it."""

from dataclasses import dataclass
from typing import get_args

from service.scheduling import PriorityClass

CLASSES: tuple[PriorityClass, ...] = get_args(PriorityClass)


@dataclass(frozen=True, slots=True)
class Team:
    """`weight` is its share of a full judge. `scope` names who may share its verdicts. Quotas are None where there is
    none: judge tokens a minute and at a time, and requests a minute. `classes` are the classes it may ask in."""

    name: str
    weight: float = 1.0
    scope: str = ""
    classes: frozenset[PriorityClass] = frozenset(CLASSES)
    tokens_per_minute: int | None = None
    concurrent_tokens: int | None = None
    requests_per_minute: int | None = None


DEFAULT_TEAM = Team(name="default")
"""Who asks where there is no teams file."""

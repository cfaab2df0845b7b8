"""What a request's log line and its trace tell beside the time it took: names from configuration, and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.scoring.pending import Usage


@dataclass(frozen=True, slots=True)
class Answered:
    """`numbers` is empty where nothing was judged."""

    team: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, team: str, items: int, usage: Usage) -> "Answered":
        """`tokens` are those that the judge computed and wrote for it."""
        numbers = {
            "items": items,
            "judgements": usage.judgements,
            "cache_hits": usage.cache_hits,
            "tokens": usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens,
        }
        return cls(team, numbers)

    def fields(self) -> dict[str, str | int]:
        return {**({} if self.team is None else {"team": self.team}), **self.numbers}

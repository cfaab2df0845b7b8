"""Says what a judge's verdicts took: seconds, tokens and money, so that judges can be set side by side.

Guarantees: figures are of the criteria that were asked about in this run; where none was there is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

NAMES: Mapping[str, str] = {
    "criteria": "criteria asked about in this run",
    "judgements": "verdicts that the judge computed",
    "cache_hits": "verdicts from the service's cache",
    "seconds": "seconds of the wall",
    "seconds_per_1000": "seconds for 1,000 criteria",
    "tokens_read": "tokens read, for each verdict that was computed",
    "tokens_written": "tokens written, for each",
    "money": "money",
    "money_per_1000": "money for 1,000 computed verdicts",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """`criteria` were asked about in this run, the others of the labels were in the store. `price_in` and `price_out`
    are for a million tokens; None where nobody named them."""

    criteria: int
    seconds: float
    judgements: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    price_in: float | None = None
    price_out: float | None = None

    @property
    def money(self) -> float | None:
        return money_of((self.prompt_tokens, self.price_in), (self.completion_tokens, self.price_out))

    def figures(self) -> dict[str, float | None]:
        """By the names of `NAMES`."""
        judged, money = self.judgements, self.money
        return {
            "criteria": float(self.criteria),
            "judgements": float(judged),
            "cache_hits": float(self.cache_hits),
            "seconds": self.seconds,
            "seconds_per_1000": 1000 * self.seconds / self.criteria if self.criteria else None,
            "tokens_read": self.prompt_tokens / judged if judged else None,
            "tokens_written": self.completion_tokens / judged if judged else None,
            "money": money,
            "money_per_1000": 1000 * money / judged if judged and money is not None else None,
        }

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "figures": self.figures()}


def rows(columns: Mapping[str, "Spent"]) -> Iterator[tuple[str, list[str]]]:
    """Each figure in words, and its value for each judge: empty where there is none."""
    figures = [spent.figures() for spent in columns.values()]
    for name, about in NAMES.items():
        values = [one[name] for one in figures]
        if any(value is not None for value in values):
            yield about, ["" if value is None else shown(value) for value in values]


def shown(value: float) -> str:
    """A number without more digits than it deserves."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def money_of(*parts: tuple[int, float | None]) -> float | None:
    """What tokens cost at their prices for a million of them. None where a price of used tokens is not known: half of a
    sum would be taken for all of it."""
    if all(price is None for _, price in parts) or any(tokens and price is None for tokens, price in parts):
        return None
    return sum(tokens * price for tokens, price in parts if price is not None) / 1e6

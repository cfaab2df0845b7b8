"""Counts what the answers of a chat endpoint cost: requests, tokens and money, paid now or found in the log.

Guarantees: an answer without a count of its tokens is counted as such, and the cost is then a lower bound and says so.
Without prices there is no cost.
"""

from dataclasses import dataclass, replace

from trainer_client.endpoint.answer import ChatAnswer


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens that are read and that are written."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Spending:
    """`requests` were answered now, and `from_log` were found; tokens and cost are of the first. `uncounted` of them
    came without their number of tokens."""

    requests: int = 0
    from_log: int = 0
    uncounted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prices: Prices | None = None

    @property
    def cost(self) -> float | None:
        if self.prices is None:
            return None
        return (self.prompt_tokens * self.prices.input + self.completion_tokens * self.prices.output) / 1e6

    def plus(self, answer: ChatAnswer) -> "Spending":
        if answer.from_log:
            return replace(self, from_log=self.from_log + 1)
        usage = answer.usage
        return replace(
            self,
            requests=self.requests + 1,
            uncounted=self.uncounted + (usage is None),
            prompt_tokens=self.prompt_tokens + (0 if usage is None else usage.prompt_tokens),
            completion_tokens=self.completion_tokens + (0 if usage is None else usage.completion_tokens),
        )

    def as_json(self) -> dict[str, int | float | None]:
        """What a command writes into its summary."""
        return {
            "requests": self.requests,
            "from_log": self.from_log,
            "uncounted": self.uncounted,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
        }

    def __str__(self) -> str:
        """A part of a sentence for people."""
        said = f"{self.requests:,} requests, {self.prompt_tokens:,} tokens read and {self.completion_tokens:,} written"
        if self.uncounted:
            said += f" (of {self.uncounted:,} requests the endpoint did not say)"
        if self.cost is not None:
            said += f", cost {'at least ' if self.uncounted else ''}{self.cost:.4f}"
        return f"{said}, {self.from_log:,} answers from the log" if self.from_log else said

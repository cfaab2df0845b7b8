"""Names the options of the client's calls, whose defaults are the contract's."""

from typing import Any, Literal, TypedDict

from trainer_client import wire


class ScoreOptions(TypedDict, total=False):
    """The options of `score`: fields of `wire.ScoreRequest`, whose defaults apply."""

    mode: wire.Mode
    aggregation: wire.Aggregation | dict[str, Any]
    layout: wire.Layout
    judge_prompt: str | None
    consistency: Literal[1, 2]
    votes: int
    batch: wire.Batch | None
    soft: bool
    threshold: float
    debias: bool
    rating_norm: wire.RatingNorm
    min_coverage: float
    reasoning: wire.Reasoning | dict[str, Any]
    unjudged: wire.Unjudged | None
    pitfalls: wire.Pitfalls | None
    priority: wire.Priority
    cache: wire.CacheUse
    judge: str | None
    expect_judge: str | None


class CompareOptions(TypedDict, total=False):
    """The options of `compare`: fields of `wire.CompareRequest`, whose defaults apply."""

    reasoning: wire.Reasoning | dict[str, Any]
    pitfalls: wire.Pitfalls | None
    priority: wire.Priority
    cache: wire.CacheUse
    judge: str | None
    expect_judge: str | None


def check_options(options: ScoreOptions) -> None:
    """Raises TypeError for an option that `score` does not have."""
    if unknown := options.keys() - ScoreOptions.__annotations__.keys():
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")

"""Turns measurements into the figures that are reported: rates, ratios, latencies, CPU time. Pure.

Guarantees: A ratio exists only where both its rates were measured in this run. What is missing is null, with a reason.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS, LOCAL, RAW = "ours_vllm", "ours_local", "raw"
PEERS = ("raw", "generative_scoring", "one_token_chat", "json_per_criterion", "json_greedy", "library")


@dataclass(frozen=True, slots=True)
class Pass:
    """A baseline's pass through one round's work. Seconds of CPU; `latencies` in seconds, one a response or, where a
    request holds a group, one a group; `theory` is what a prefix cache can find of `prompt_tokens`, None if unknown."""

    seconds: float
    verdicts: int
    prompt_tokens: int
    cached_tokens: int
    decoded_tokens: int
    theory: int | None
    front_end_cpu: float
    engine_cpu: float
    client_cpu: float
    latencies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A baseline on one model: the passes of its rounds, or why there are none."""

    cold: tuple[Pass, ...] = ()
    warm: tuple[Pass, ...] = ()
    failed: str | None = None


def rate(passes: Sequence[Pass]) -> float | None:
    """Verdicts a second over all of them."""
    seconds = sum(one.seconds for one in passes)
    return sum(one.verdicts for one in passes) / seconds if seconds else None


def ratio(ours: Outcome | None, theirs: Outcome | None) -> float | None:
    """Ours over theirs, cold, by the median over the rounds, so that a disturbed one counts little."""
    if ours is None or theirs is None or ours.failed or theirs.failed or not ours.cold or not theirs.cold:
        return None
    rounds = zip(ours.cold, theirs.cold, strict=False)
    return statistics.median((a.verdicts / a.seconds) / (b.verdicts / b.seconds) for a, b in rounds)


def ratios(outcomes: Mapping[str, Outcome]) -> dict[str, float | None]:
    """`OURS` over each peer."""
    return {peer: ratio(outcomes.get(OURS), outcomes.get(peer)) for peer in PEERS}


def local_ratios(outcomes: Mapping[str, Outcome]) -> dict[str, float | None]:
    """The service with engine `local` over the raw engine and over the service with vLLM."""
    return {peer: ratio(outcomes.get(LOCAL), outcomes.get(peer)) for peer in (RAW, OURS)}


def told(passes: Sequence[Pass]) -> dict[str, Any] | None:
    """The passes' figures, as they stand in the JSON file; None where there are none."""
    if not passes:
        return None
    verdicts = sum(one.verdicts for one in passes)
    prompt = sum(one.prompt_tokens for one in passes)
    cached = sum(one.cached_tokens for one in passes)
    decoded = sum(one.decoded_tokens for one in passes)
    theory = [one.theory for one in passes if one.theory is not None]
    latencies = [latency for one in passes for latency in one.latencies]
    return {
        "verdicts": verdicts,
        "seconds": sum(one.seconds for one in passes),
        "verdicts_per_s": rate(passes),
        "verdicts_per_s_by_turn": [one.verdicts / one.seconds for one in passes],
        "prompt_tokens": prompt,
        "tokens_computed": prompt - cached + decoded,
        "tokens_computed_per_verdict": (prompt - cached + decoded) / verdicts,
        "decoded_tokens": decoded,
        "prefix_hit": cached / prompt if prompt else None,
        "prefix_hit_theory": sum(theory) / prompt if prompt and len(theory) == len(passes) else None,
        "cpu_s_per_1000_verdicts": {
            "front_end": 1000 * sum(one.front_end_cpu for one in passes) / verdicts,
            "engine": 1000 * sum(one.engine_cpu for one in passes) / verdicts,
            "client": 1000 * sum(one.client_cpu for one in passes) / verdicts,
        },
        "latency_s": {"p50": percentile(latencies, 0.50), "p95": percentile(latencies, 0.95)},
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest of the values that so large a share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def table(kind: str, outcomes: Mapping[str, Outcome]) -> str:
    """The figures of one model as lines to read."""
    heads = (
        "cold/s",
        "warm/s",
        "tok/verdict",
        "hit",
        "theory",
        "front",
        "engine",
        "client",
        "p50 s",
        "p95 s",
        "ours/it",
    )
    lines = [f"{kind:<20}" + "".join(f"{head:>12}" for head in heads)]
    for name, outcome in outcomes.items():
        if outcome.failed:
            lines.append(f"{name:<20}  failed: {outcome.failed.strip().splitlines()[0]}")
            continue
        cold, warm = told(outcome.cold), told(outcome.warm)
        cells = [] if cold is None else _cells(cold, warm, ratio(outcomes.get(OURS), outcome))
        lines.append(f"{name:<20}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _cells(cold: Mapping[str, Any], warm: Mapping[str, Any] | None, ours: float | None) -> list[str]:
    cpu, latency = cold["cpu_s_per_1000_verdicts"], cold["latency_s"]
    return [
        _number(cold["verdicts_per_s"]),
        _number(warm["verdicts_per_s"] if warm else None),
        _number(cold["tokens_computed_per_verdict"]),
        _share(cold["prefix_hit"]),
        _share(cold["prefix_hit_theory"]),
        *(_number(cpu[part]) for part in ("front_end", "engine", "client")),
        *(_number(latency[part]) for part in ("p50", "p95")),
        _number(ours),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"

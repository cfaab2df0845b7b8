"""The results of a study as figures: means, spread and paired differences, by arm and setting. Pure.

Guarantees: Arms are compared on the seeds that both have.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from miniature.experiment.arms import Setting

Result = Mapping[str, Any]


def label(result: Result) -> str:
    """The arm, with what its setting has otherwise than by default and the judge that is not the bundled one."""
    judge = f" by {result['judge']}" if result.get("judge") else ""
    return f"{result['arm']}{Setting(**result['setting']).differences}{judge}"


def table(results: Sequence[Result]) -> dict[str, Any]:
    """By arm and setting, the mean over the seeds of what was measured at the end, with each seed's exact reward and
    what it is above that of the first arm with this setting and judge."""
    found: dict[str, Any] = {}
    firsts = {_setting(result): label(result) for result in reversed(results)}
    settings = {label(result): _setting(result) for result in results}
    for name in dict.fromkeys(map(label, results)):
        base = _by_seed(results, firsts[settings[name]])
        own = [result["splits"] for result in results if label(result) == name]
        seeds = _by_seed(results, name)
        exact = list(seeds.values())
        found[name] = {
            "exact_reward": mean(exact),
            "seeds": seeds,
            "spread": [min(exact), max(exact)],
            "deviation": stdev(exact) if len(exact) > 1 else None,
            "above_first": {seed: value - base[seed] for seed, value in seeds.items() if seed in base},
            "exact_cool": mean(one["train"]["exact_cool"] for one in own),
            "bare_reward": mean(one["train"]["bare_reward"] for one in own),
            "other_words": mean(one["trained"]["exact_reward"] for one in own),
            "held_out": mean(one["held-out"]["exact_reward"] for one in own),
            "held_out_cool": mean(one["held-out"]["exact_cool"] for one in own),
            "best_of": _means([one["train"]["exact_best_of"] for one in own]),
        }
    return found


def _setting(result: Result) -> str:
    return f"{Setting(**result['setting']).differences} {result.get('judge', '')}"


def _by_seed(results: Sequence[Result], name: str) -> dict[int, float]:
    return {one["seed"]: one["splits"]["train"]["exact_reward"] for one in results if label(one) == name}


def _means(curves: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {n: mean(curve[n] for curve in curves) for n in curves[0]}


def markdown(found: Mapping[str, Any]) -> str:
    most = max((int(n) for one in found.values() for n in one["best_of"]), default=1)
    head = (
        "| arm | exact truth | of the seeds | above its setting's first | T 0.7, top-p 0.8 | judge's word "
        f"| held out (T 1, 0.7) | best of 8 | best of {most} |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for arm, one in found.items():
        best, above = one["best_of"], list(one["above_first"].values())
        cells = [
            f"`{arm}`",
            f"{one['exact_reward']:.3f}" + ("" if one["deviation"] is None else f" ± {one['deviation']:.3f}"),
            ", ".join(f"{value:.3f}" for value in one["seeds"].values()),
            "" if not any(above) else f"{mean(above):+.3f} ({min(above):+.3f} to {max(above):+.3f})",
            *(f"{one[name]:.3f}" for name in ("exact_cool", "bare_reward")),
            f"{one['held_out']:.3f}, {one['held_out_cool']:.3f}",
            *(f"{best[n]:.3f}" if n in best else "" for n in ("8", str(most))),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

"""Do engines agree? The bundled judge on 2,000 unseen cases through POST /v1/score, once an engine and dtype.

Each way is a service of its own, one after the other, on the same cases. Held against `local` in float32: the share of
criteria with the same verdict, and how far P(met) is apart. bfloat16 rounds more than engines differ; it is shown so
that nobody takes the one for the other.

    python -m loadtests.agreement [--cases 2000] [--seed 20] [--json FILE]
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.judge import BINS, judge
from miniature.judge.evaluation import Verdict, accuracy, calibration_error
from miniature.world.cases import evaluation
from testkit.processes import service

WAYS = (("local", "float32"), ("vllm", "float32"), ("local", "bfloat16"), ("vllm", "bfloat16"))
SAME = 0.999
APART = 0.01


@dataclass(frozen=True, slots=True)
class Agreement:
    """With `local` in float32. `apart` are of P(met)."""

    engine: str
    dtype: str
    verdicts: int
    same: float
    mean_apart: float
    largest_apart: float
    accuracy: float
    calibration_error: float
    verdicts_per_s: float


def compare(way: tuple[str, str], judged: Sequence[Verdict], first: Sequence[Verdict], seconds: float) -> Agreement:
    pairs = list(zip(judged, first, strict=True))
    apart = [abs(a.p - b.p) for a, b in pairs]
    return Agreement(
        *way,
        verdicts=len(pairs),
        same=sum((a.p >= 0.5) == (b.p >= 0.5) for a, b in pairs) / len(pairs),
        mean_apart=statistics.fmean(apart),
        largest_apart=max(apart),
        accuracy=accuracy(judged),
        calibration_error=calibration_error(judged, bins=BINS),
        verdicts_per_s=len(pairs) / seconds,
    )


def main() -> int:
    """Exit status 0 where `vllm` in float32 agrees, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [evaluation(options.seed, index) for index in range(options.cases)]
    first: list[Verdict] = []
    rows: list[Agreement] = []
    for engine, dtype in WAYS:
        print(f"{engine}, {dtype}", file=sys.stderr)
        with service("--engine", engine, "--dtype", dtype) as running:
            judged, seconds = judge(running.url, cases, batch=50)
        first = first or judged
        rows.append(compare((engine, dtype), judged, first, seconds))
    heads = (
        ("verdicts", 9),
        ("same", 10),
        ("mean |dP|", 11),
        ("max |dP|", 10),
        ("accuracy", 10),
        ("ECE", 10),
        ("a second", 10),
    )
    print(f"{'engine':<8}{'dtype':<10}" + "".join(f"{name:>{width}}" for name, width in heads))
    for row in rows:
        print(
            f"{row.engine:<8}{row.dtype:<10}{row.verdicts:>9}{row.same:>10.5f}{row.mean_apart:>11.6f}"
            f"{row.largest_apart:>10.4f}{row.accuracy:>10.4f}{row.calibration_error:>10.4f}{row.verdicts_per_s:>10.0f}"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    agree = rows[1].same >= SAME and rows[1].mean_apart <= APART
    print("engines agree" if agree else "ENGINES DISAGREE")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measures the bundled judge through the service: 2,000 cases that nobody trained on, posted to POST /v1/score.

The service is a process of its own on a free loopback port. The cases come from the miniature's evaluation stream;
every one asks about a combination of topic and item that training never showed, and its truth is exact. A criterion
without a verdict ends the run: figures over a part of the cases would be worth nothing.

    python -m loadtests.judge [--cases 2000] [--seed 20] [--broken] [--judge FOLDER] [--json FILE] [--plot FILE]
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from miniature.judge.evaluation import Figures, Verdict, figures, verdicts
from miniature.world.cases import BROKEN, STANDARD, Case, evaluation
from testkit.processes import service
from trainer_client.wire import ScoreResponse

BINS = 15


def main() -> int:
    """Exit status 0 where the targets are met, else 1."""
    options = _parser().parse_args()
    mix = BROKEN if options.broken else STANDARD
    cases = [evaluation(options.seed, index, mix) for index in range(options.cases)]
    with service(*(["--judge", str(options.judge)] if options.judge else [])) as running:
        judged, seconds = judge(running.url, cases, options.batch)
    measured = figures(judged, bins=BINS)
    print(table(measured, len(cases), seconds))
    if options.json:
        facts = {"cases": len(cases), "seed": options.seed, "bins": BINS, "seconds": seconds}
        options.json.write_text(json.dumps(facts | asdict(measured), indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(judged, options.plot)
    met = measured.accuracy >= options.accuracy and measured.calibration_error <= options.calibration_error
    print("targets met" if met else "TARGETS MISSED")
    return 0 if met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.judge", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many (2000)")
    parser.add_argument("--seed", type=int, default=20, help="of the cases (20)")
    parser.add_argument("--broken", action="store_true", help="responses that are broken as by a policy under pressure")
    parser.add_argument("--batch", type=int, default=50, help="items a request (50)")
    parser.add_argument("--judge", type=Path, help="folder of another judge than the bundled one")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="write a reliability diagram to this file")
    parser.add_argument("--accuracy", type=float, default=0.99, help="least accuracy (0.99)")
    parser.add_argument("--calibration-error", type=float, default=0.005, help="largest calibration error (0.005)")
    return parser


def judge(url: str, cases: Sequence[Case], batch: int) -> tuple[list[Verdict], float]:
    """Every verdict of every case, and the seconds that they took."""
    judged: list[Verdict] = []
    start = time.perf_counter()
    with httpx.Client(base_url=url, timeout=300) as client, tqdm(total=len(cases), unit="case") as bar:
        for first in range(0, len(cases), batch):
            part = cases[first : first + batch]
            answer = client.post("/v1/score", json={"items": [case.wire for case in part]})
            answer.raise_for_status()
            judged += read(part, answer.json())
            bar.update(len(part))
    return judged, time.perf_counter() - start


def read(cases: Sequence[Case], answer: dict[str, Any]) -> list[Verdict]:
    """The answer's verdicts. Raises ValueError where one is missing or stands elsewhere than asked."""
    judged: list[Verdict] = []
    for case, result in zip(cases, ScoreResponse.model_validate(answer).results, strict=True):
        if [result.id, *(one.id for one in result.criteria)] != [case.id, *case.truth]:
            raise ValueError(f"the answer to {case.id} is not in the order of the request")
        chances = [one.p for one in result.criteria if one.p is not None]
        judged += verdicts(case, chances)
    return judged


def table(measured: Figures, cases: int, seconds: float) -> str:
    """The figures as lines to read."""
    rows = [
        ("cases", f"{cases}"),
        ("criteria", f"{measured.verdicts}"),
        ("accuracy", f"{measured.accuracy:.4f}"),
        (f"calibration error, {BINS} bins", f"{measured.calibration_error:.4f}"),
        ("AUROC", "none" if measured.auroc is None else f"{measured.auroc:.4f}"),
        ("Brier score", f"{measured.brier:.4f}"),
        *((f"accuracy, {tag} ({count})", f"{share:.4f}") for tag, (count, share) in measured.by_tag.items()),
        ("verdicts a second", f"{measured.verdicts / seconds:.0f}"),
    ]
    return "\n".join(f"{name:<32}{value:>10}" for name, value in rows)


def plot(judged: Sequence[Verdict], file: Path) -> None:
    """Share met against mean P(met), a point a bin, as large as its verdicts."""
    from matplotlib.figure import Figure

    binned: dict[int, list[Verdict]] = defaultdict(list)
    for verdict in judged:
        binned[min(int(verdict.p * BINS), BINS - 1)].append(verdict)
    groups = [binned[n] for n in sorted(binned)]
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.scatter(
        [sum(v.p for v in group) / len(group) for group in groups],
        [sum(v.met for v in group) / len(group) for group in groups],
        s=[8 + 160 * (len(group) / len(judged)) ** 0.5 for group in groups],
    )
    axes.set(xlabel="mean P(met)", ylabel="share met", title=f"Bundled judge, {len(judged)} verdicts", aspect="equal")
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())

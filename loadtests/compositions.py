"""Compares one judge with a cascade and panels of two, on clean and on attacked answers, and tries a plan's promise.

The strong judge is the bundled one, the cheap one is trained a tenth as long (in the folder `--weak`, where it is
missing there: minutes). A plan is made of unseen cases; then prompts are drawn again and again and planned, and
it is counted how often the promise holds on all of them. Then all judges are served, and asked about other cases.

    python -m loadtests.compositions [--weak FOLDER] [--labels 2000] [--lose 0.005] [--redraws 100] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from miniature.world.cases import BROKEN, Case, evaluation
from testkit.processes import ROOT, service
from trainer_client.agreement.bootstrap import Bounded, Figure, figures
from trainer_client.agreement.statistics import ratio
from trainer_client.cascade.paid import Files, paid_judge
from trainer_client.cascade.planning import NoPlan, Wanted, choose
from trainer_client.cascade.spending import Cost
from trainer_client.cascade.verdicts import JudgedRows, cascade, judged_rows
from trainer_client.cli.main import main as rubricd
from trainer_client.client import ScoreOptions
from trainer_client.labels import read_labels
from trainer_client.wire import read_cascade_plan

_STRONG = ROOT / "miniature" / "checkpoints" / "judge"
_WORK = Path("runs/compositions")
_JUDGES = ("strong", "weak", "cascade", "mean", "unanimous")
_FILE = """\
judges:
  cascade: {{cascade: [weak, strong], plan: {plan}}}
  weak: {{engine: local, judge: {weak}}}
  strong: {{engine: local, judge: {strong}}}
  mean: {{panel: [weak, strong]}}
  unanimous: {{panel: [weak, strong], rule: unanimous}}
"""
_SEEDS = {"labels": 20, "clean": 30, "attacked": 31}
_AT_ONCE = 10
_DRAWS = 2_000
Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a judge said of cases: `right` and `criteria` of each case, the share that reached the strong judge, and
    the tokens of the whole."""

    right: Counts
    criteria: Counts
    reached: float
    usage: Mapping[str, int]


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.weak / "config.json").exists():
        train = [sys.executable, "-m", "miniature", "judge", "--out", str(args.weak), "--steps", "240"]
        subprocess.run(train, check=True)
    labels = args.work / "labels.jsonl"
    # Cases are drawn one by one: those with the same question are as independent as others.
    rows = ({"item": case.wire, "met": case.truth, "prompt_id": case.id} for case in _cases("labels", args.labels))
    labels.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    plan = args.work / "labels.cascade.json"
    found = {"plan": _plan(args, labels), "redrawn": _redrawn(args, labels, plan)} | _served(args, plan)
    print(json.dumps(found["redrawn"]))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--weak", type=Path, default=_WORK / "weak", help="the cheap judge's folder, made if missing")
    parser.add_argument("--work", type=Path, default=_WORK, help="labels, verdicts and the plan")
    parser.add_argument("--labels", type=int, default=2_000, help="cases that the plan is made of")
    parser.add_argument("--lose", type=float, default=0.005, help="the promise: agreement that may be lost")
    parser.add_argument("--redraws", type=int, default=100, help="plans of prompts that are drawn again")
    parser.add_argument("--clean", type=int, default=150, help="unseen cases that are asked about")
    parser.add_argument("--attacked", type=int, default=100, help="unseen cases as of a policy that a reward pushes")
    parser.add_argument("--json", type=Path, help="write all figures")
    return parser.parse_args()


def _cases(kind: str, count: int) -> Iterator[Case]:
    for n in range(count):
        yield evaluation(_SEEDS[kind], n, BROKEN) if kind == "attacked" else evaluation(_SEEDS[kind], n)


def _plan(args: argparse.Namespace, labels: Path) -> Any:
    figures = args.work / "plan.json"
    with service("--judge", str(args.weak)) as weak, service("--judge", str(_STRONG)) as strong:
        command = ["cascade", "plan", str(labels), "--url", weak.url, "--url", strong.url, "--lose", str(args.lose)]
        if rubricd([*command, "--json", str(figures)]) != 0:
            raise SystemExit("there is no plan, so that nothing can be compared")
    return json.loads(figures.read_text(encoding="utf-8"))


def _redrawn(args: argparse.Namespace, path: Path, plan: Path) -> dict[str, Any]:
    """Plans of as many prompts, drawn with replacement from the labelled ones, which are the whole truth here."""
    labels = read_labels([str(path)])
    store, judges = path.with_name("labels.verdicts.jsonl"), read_cascade_plan(plan.read_bytes()).judges
    known = [
        paid_judge(labels, Files(one.name, one.fingerprint, [store], asked), print)
        for one in judges
        for asked in [ScoreOptions(mode=one.mode, layout=one.layout, threshold=0.5)]
    ]
    rows = judged_rows(labels, [one.criteria for one in known])
    draw, wanted = np.random.default_rng(7), Wanted("loss", args.lose, 0.05)
    kept, spared, lost = 0, [], []
    for seed in range(args.redraws):
        try:
            chosen = choose(drawn_again(rows, draw), [Cost(1.0), Cost(1.0)], wanted, seed=seed).chosen
        except NoPlan:
            continue
        whole = cascade(rows, chosen.bands)
        lost.append(float(wanted.losses(rows, whole).mean()))
        spared.append(1 - float(whole.asked[-1].mean()))
        kept += lost[-1] <= wanted.limit
    return {"plans": len(lost), "kept": kept, "spared": float(np.mean(spared)), "most_lost": max(lost)}


def drawn_again(rows: JudgedRows, draw: np.random.Generator) -> JudgedRows:
    places = [np.flatnonzero(rows.groups == group) for group in np.unique(rows.groups)]
    some = [places[n] for n in draw.integers(0, len(places), len(places))]
    numbers = np.repeat(np.arange(len(some)), [len(one) for one in some]).astype(np.intp)
    at = np.concatenate(some)
    return JudgedRows(rows.label[at], rows.decided[:, at], rows.met[:, at], rows.p[:, at], numbers, numbers.copy())


def _served(args: argparse.Namespace, plan: Path) -> dict[str, Any]:
    file = args.work / "judges.yaml"
    file.write_text(
        _FILE.format(plan=plan.resolve(), weak=args.weak.resolve(), strong=_STRONG.resolve()), encoding="utf-8"
    )
    found: dict[str, Any] = {}
    with service("--judges", str(file)) as host, httpx.Client(base_url=host.url, timeout=600) as client:
        for kind, count in (("clean", args.clean), ("attacked", args.attacked)):
            cases = list(_cases(kind, count))
            asked = {judge: _asked(client, judge, cases) for judge in _JUDGES}
            found[kind] = {judge: figures_of(one, asked) for judge, one in asked.items()}
            for judge, figures in found[kind].items():
                print(f"{kind:9} {judge:10} {json.dumps(figures)}")
    return found


def _asked(client: httpx.Client, judge: str, cases: Sequence[Case]) -> Asked:
    """Past the cache, so that each judge computes what it would alone."""
    right, criteria, reached, usage = [], [], 0, dict[str, int]()
    for start in range(0, len(cases), _AT_ONCE):
        some = cases[start : start + _AT_ONCE]
        body = {"items": [case.wire for case in some], "judge": judge, "cache": "bypass"}
        answer = client.post("/v1/score", json=body)
        answer.raise_for_status()
        whole = answer.json()
        usage = {name: usage.get(name, 0) + (value or 0) for name, value in whole["usage"].items()}
        for case, result in zip(some, whole["results"], strict=True):
            said = result["criteria"]
            right.append(sum(one["met"] is case.truth[one["id"]] for one in said))
            criteria.append(len(said))
            reached += sum(any(member["judge"] == "strong" for member in one.get("members") or ()) for one in said)
    return Asked(np.array(right, float), np.array(criteria, float), reached / sum(criteria), usage)


def figures_of(one: Asked, asked: Mapping[str, Asked]) -> dict[str, Any]:
    """Intervals of 95 % over cases. `less_strong` is the agreement beyond that of the strong judge."""
    less = one.right - asked["strong"].right
    drawn = figures(
        {
            "agrees": Bounded(lambda weights: ratio(weights @ one.right, weights @ one.criteria)),
            "less_strong": Bounded(lambda weights: ratio(weights @ less, weights @ one.criteria), least=-1.0),
        },
        np.arange(len(one.right)),
        resamples=_DRAWS,
    )
    strong, weak = asked["strong"].usage, asked["weak"].usage
    read = one.usage["prompt_tokens"] - weak["prompt_tokens"]
    computed = read - one.usage["cached_tokens"] + weak["cached_tokens"]
    alone = strong["prompt_tokens"] - strong["cached_tokens"]
    found = {name: _rounded(figure) for name, figure in drawn.items()}
    if one is not asked["cascade"]:
        return found
    return found | {
        "reached_strong": round(one.reached, 4),
        "strong_tokens_read": round(read / strong["prompt_tokens"], 4),
        "strong_tokens_computed": round(computed / alone, 4),
    }


def _rounded(figure: Figure) -> list[float | None]:
    """The value and the ends of its interval."""
    return [None if value is None else round(value, 4) for value in (figure.value, figure.low, figure.high)]


if __name__ == "__main__":
    main()

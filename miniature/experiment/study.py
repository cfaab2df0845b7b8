"""`python -m miniature study`: train the tiny policy in several ways over HTTP, and hold the results side by side.

It starts a service with the bundled judge, unless one is named; each run is a process of its own. What has been run
before is not run again.

Guarantees: Every figure of the table is of a whole run. Arms are compared on the same seeds.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, get_args

from tqdm import tqdm

from miniature.experiment.arms import ARMS, Kl, Setting
from miniature.experiment.run import POLICY, metrics

_REPOSITORY = Path(__file__).resolve().parents[2]
_READY_S = 120.0
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    arm: str
    seed: int
    steps: int
    rate: float | None
    samples: int
    kl: Kl
    policy: Path
    folder: Path

    def command(self, url: str) -> list[str]:
        where = ["--url", url, "--out", str(self.folder.resolve()), "--policy", str(self.policy.resolve())]
        rate = [] if self.rate is None else ["--rate", str(self.rate)]
        own = [self.arm, "--seed", str(self.seed), "--steps", str(self.steps), "--samples", str(self.samples), *rate]
        own += ["--kl", self.kl]
        return [sys.executable, "-m", "miniature.experiment.run", *own, *where]

    @property
    def result(self) -> Result | None:
        """None where the folder holds none, or one of a run that was asked for otherwise."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        asked = {
            "setting": asdict(Setting(steps=self.steps, kl=self.kl)),
            "rate": ARMS[self.arm].rate if self.rate is None else self.rate,
            "samples": self.samples,
            "policy": str(self.policy.resolve()),
        }
        return found if asked.items() <= found.items() else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--arms", default="ruscarl,rubric-rl", help=f"some of {', '.join(ARMS)} (%(default)s)")
    add("--seeds", default="0", help="comma-separated (%(default)s)")
    add("--rates", help="learning rates to try, comma-separated, instead of each arm's own")
    add("--kl", choices=get_args(Kl), default=Setting().kl, help="the KL term as TRL has it, or bounded (%(default)s)")
    add("--steps", type=int, default=Setting().steps, help="batches of rollouts (%(default)s)")
    add("--samples", type=int, default=64, help="answers to each prompt in the measurement (%(default)s)")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (%(default)s)")
    add("--policy", type=Path, default=POLICY, help="folder of the policy to begin with (the bundled one)")
    add("--out", type=Path, default=Path("runs/study"), help="folder of the runs (%(default)s)")
    add("--url", help="a judge service that serves the bundled judge; default: one is started")
    add("--json", type=Path, help="where to write the end values")


def run(options: argparse.Namespace) -> int:
    """Exit status 0, or 1 where a run failed."""
    runs = list(_runs(options))
    with contextlib.ExitStack() as stack:
        url = options.url or stack.enter_context(service(options.out))
        failed = _train([one for one in runs if one.result is None], url, options.jobs)
    results = [one.result for one in runs if one.result is not None]
    if results:
        from miniature.experiment.picture import draw

        found = table(results)
        print(_markdown(found))
        draw(results, {one.folder: metrics(one.folder) for one in runs}, options.out / "study.png")
        print(f"curves and best of N: {options.out / 'study.png'}")
        if options.json:
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    for one in failed:
        print(f"failed: {one.folder}: see {one.folder / 'log.txt'}", file=sys.stderr)
    return 1 if failed else 0


def _runs(options: argparse.Namespace) -> Iterator[Run]:
    arms = options.arms.split(",")
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise SystemExit(f"unknown arms: {', '.join(unknown)}; there are {', '.join(ARMS)}")
    rates = [float(rate) for rate in options.rates.split(",")] if options.rates else [None]
    for seed in map(int, options.seeds.split(",")):
        for arm in arms:
            for rate in rates:
                name = f"{arm}-{seed}" + ("" if rate is None else f"-{rate:g}")
                name += "" if options.kl == Setting().kl else f"-{options.kl}"
                folder = options.out / name
                yield Run(arm, seed, options.steps, rate, options.samples, options.kl, options.policy, folder)


def _train(runs: Sequence[Run], url: str, jobs: int) -> list[Run]:
    """Trains them all, `jobs` at once; those that failed."""
    if not runs:
        return []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=sum(one.steps for one in runs), unit="step") as bar:
        work = {pool.submit(_train_one, one, url): one for one in runs}
        while not all(future.done() for future in work):
            _advance(bar, work)
            time.sleep(0.5)
        _advance(bar, work)
    return [one for future, one in work.items() if future.result() != 0]


def _train_one(one: Run, url: str) -> int:
    one.folder.mkdir(parents=True, exist_ok=True)
    # Threads that wait by spinning take a core from the judge.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with (one.folder / "log.txt").open("w", encoding="utf-8") as log:
        return subprocess.run(
            one.command(url), stdout=log, stderr=subprocess.STDOUT, cwd=_REPOSITORY, env=environment, check=False
        ).returncode


def _advance(bar: "tqdm[Any]", work: Mapping[Future[int], Run]) -> None:
    lines = {one.folder.name: metrics(one.folder) for one in work.values()}
    bar.n = sum(sum("reward" in line for line in own) for own in lines.values())
    last = {name: own[-1]["reward"] for name, own in lines.items() if own and "reward" in own[-1]}
    bar.set_postfix({name: f"{value:.2f}" for name, value in list(last.items())[-2:]}, refresh=False)
    bar.refresh()


@contextlib.contextmanager
def service(out: Path) -> Iterator[str]:
    """The URL of a service with the bundled judge, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--engine", "local"]
    with (out / "service.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=_REPOSITORY)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url, out / "service.txt")
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"the judge service did not start; see {log}")


def table(results: Sequence[Result]) -> dict[str, Any]:
    """By arm, the mean over the seeds of what was measured at the end, with the smallest and the largest."""
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(result["arm"] for result in results):
        own = [result["splits"] for result in results if result["arm"] == arm]
        found[arm] = {
            "bare_reward": mean(one["train"]["bare_reward"] for one in own),
            "spread": [f([one["train"]["bare_reward"] for one in own]) for f in (min, max)],
            "exact_reward": mean(one["train"]["exact_reward"] for one in own),
            "other_words": mean(one["trained"]["bare_reward"] for one in own),
            "held_out": mean(one["held-out"]["bare_reward"] for one in own),
            "held_out_exact": mean(one["held-out"]["exact_reward"] for one in own),
            "best_of": _means([one["train"]["best_of"] for one in own]),
            "seeds": len(own),
        }
    return found


def _means(curves: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {n: mean(curve[n] for curve in curves) for n in curves[0]}


def _markdown(found: Mapping[str, Any]) -> str:
    head = "| arm | bare reward | of seeds | exact | other words | held-out topics | best of 8 | best of 64 |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for arm, one in found.items():
        low, high = one["spread"]
        best = one["best_of"]
        cells = [
            arm,
            f"{one['bare_reward']:.3f}",
            f"{low:.3f} to {high:.3f} ({one['seeds']})",
            *(f"{one[name]:.3f}" for name in ("exact_reward", "other_words", "held_out")),
            *(f"{best[n]:.3f}" if n in best else "" for n in ("8", "64")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

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
from typing import Any

from tqdm import tqdm

from miniature.experiment.arms import ARMS, Setting
from miniature.experiment.run import ASKED, POLICY, add_setting, metrics, setting_of
from miniature.experiment.table import Result, markdown, table

_REPOSITORY = Path(__file__).resolve().parents[2]
_READY_S = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """`judge` is the folder of a judge that is not the bundled one."""

    arm: str
    seed: int
    setting: Setting
    rate: float | None
    samples: int
    policy: Path
    judge: Path | None
    out: Path

    @property
    def folder(self) -> Path:
        rate = "" if self.rate is None else f"-{self.rate:g}"
        judge = "" if self.judge is None else f"-by-{self.judge.name}"
        return self.out / f"{self.arm}-{self.seed}{rate}{self.setting.differences}{judge}"

    def command(self, url: str) -> list[str]:
        where = ["--url", url, "--out", str(self.folder.resolve()), "--policy", str(self.policy.resolve())]
        rate = [] if self.rate is None else ["--rate", str(self.rate)]
        judge = [] if self.judge is None else ["--judge", self.judge.name]
        own = [self.arm, "--seed", str(self.seed), "--samples", str(self.samples), *rate, *judge]
        for name in ASKED:
            value, option = getattr(self.setting, name), name.replace("_", "-")
            if isinstance(value, bool):
                own.append(f"--{'' if value else 'no-'}{option}")
            else:
                own += [f"--{option}", str(value)]
        return [sys.executable, "-m", "miniature.experiment.run", *own, *where]

    @property
    def result(self) -> Result | None:
        """None where the folder holds none, or one of a run that was asked for otherwise."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        asked = {
            "setting": asdict(self.setting),
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
    add_setting(parser)
    add("--samples", type=int, default=64, help="answers to each prompt in the measurement (%(default)s)")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="runs at once (%(default)s)")
    add("--policy", type=Path, default=POLICY, help="folder of the policy to begin with (the bundled one)")
    add("--judge", type=Path, help="folder of the judge (the bundled one)")
    add("--out", type=Path, default=Path("runs/study"), help="folder of the runs (%(default)s)")
    add("--url", help="a judge service that serves the judge; default: one is started")
    add("--json", type=Path, help="where to write the end values")
    add("--report", action="store_true", help="train nothing; table and picture of all results below --out")


def run(options: argparse.Namespace) -> int:
    """Exit status 0, or 1 where a run failed."""
    failed: list[Run] = []
    if options.report:
        folders = [path.parent for path in sorted(options.out.glob("*/result.json"))]
    else:
        runs = list(_runs(options))
        folders = [one.folder for one in runs]
        failed = _run_missing([one for one in runs if one.result is None], options)
    read = {folder: _read(folder) for folder in folders if (folder / "result.json").exists()}
    results = dict(sorted(read.items(), key=lambda one: _place(one[1])))
    if results:
        _report(results, options)
    for one in failed:
        print(f"failed: {one.folder}: see {one.folder / 'log.txt'}", file=sys.stderr)
    return 1 if failed else 0


def _place(result: Result) -> tuple[str, int, int]:
    """Arms of one setting together, in the order in which they are listed."""
    setting = Setting(**result["setting"]).differences
    return f"{setting} {result.get('judge', '')}", list(ARMS).index(result["arm"]), result["seed"]


def _read(folder: Path) -> Result:
    found: Result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def _run_missing(missing: Sequence[Run], options: argparse.Namespace) -> list[Run]:
    if not missing:
        return []
    with contextlib.ExitStack() as stack:
        if options.url or options.reward != "judge":
            return _train(missing, options.url or "", options.jobs)
        return _train(missing, stack.enter_context(service(options.out, options.judge)), options.jobs)


def _report(results: Mapping[Path, Result], options: argparse.Namespace) -> None:
    from miniature.experiment.picture import draw

    found = table(list(results.values()))
    print(markdown(found))
    draw(list(results.values()), [metrics(folder) for folder in results], options.out / "study.png")
    print(f"curves and best of N: {options.out / 'study.png'}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _runs(options: argparse.Namespace) -> Iterator[Run]:
    arms = options.arms.split(",")
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise SystemExit(f"unknown arms: {', '.join(unknown)}; there are {', '.join(ARMS)}")
    if options.reward not in ("judge", "erring") and (rating := [arm for arm in arms if ARMS[arm].asked]):
        raise SystemExit(
            f"reward {options.reward} is by the rubric's points alone, and {', '.join(rating)} ask otherwise: "
            "take the reward of a judge, or `--reward erring`"
        )
    if not 0 < options.agreement <= 1 or (options.agreement != 1 and options.reward != "erring"):
        raise SystemExit(f"--agreement {options.agreement:g}: give a correlation above 0, to 1, with `--reward erring`")
    rates = [float(rate) for rate in options.rates.split(",")] if options.rates else [None]
    setting = setting_of(options)
    for seed in map(int, options.seeds.split(",")):
        for arm in arms:
            for rate in rates:
                yield Run(arm, seed, setting, rate, options.samples, options.policy, options.judge, options.out)


def _train(runs: Sequence[Run], url: str, jobs: int) -> list[Run]:
    """Trains them all, `jobs` at once; those that failed."""
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=sum(one.setting.steps for one in runs), unit="step") as bar:
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
def service(out: Path, judge: Path | None = None) -> Iterator[str]:
    """The URL of a service with the judge, the bundled one if none is named, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--engine", "local"]
    command += [] if judge is None else ["--judge", str(judge.resolve())]
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

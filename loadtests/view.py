"""Measures how fast the page of `rubricd view` answers in Chromium: loading, searching, filtering and sorting.

    python -m loadtests.view [--rows 10000] [--criteria 10] [--repeats 9]

Guarantees: a time is from the change to the next frame that is painted, and each is the median of the repeats. The CPU
time beside it is that of the page's process for all changes, so that a busy machine can be told from a slow page.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from playwright.sync_api import Page

from testkit.browser import chromium, opened
from testkit.made_results import write_results
from trainer_client.rollouts import read
from trainer_client.viewer.columns import Source
from trainer_client.viewer.page import write

CHANGES = {
    "first search": '{q: "numbness, and"}',
    "a letter more": '{q: "numbness, and p"}',
    "no search": '{q: ""}',
    "score in a range": "{score: [0.5, 0.75]}",
    "score and a verdict": '{verdict: "unmet"}',
    "a criterion and its verdict": '{criterion: 3, verdict: "met"}',
    "no filter": '{score: null, verdict: "", criterion: -1}',
    "table, search": '{tab: "responses", q: "harmless"}',
    "table, sorted": '{q: "", sort: "-Score"}',
    "criteria with rates": '{tab: "criteria"}',
    "criteria, search": '{q: "emergency"}',
    "tags with rates": '{tab: "tags"}',
}
_TIMED = """more => new Promise(done => {
  const began = performance.now();
  rubricd.change(more);
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
})"""


def cpu_s() -> float:
    """The CPU time of Chromium's pages that this process started."""
    found = psutil.Process().children(recursive=True)
    return sum(sum(one.cpu_times()[:2]) for one in found if "--type=renderer" in " ".join(one.cmdline()))


def measure(page: Page, repeats: int) -> dict[str, float]:
    """The median milliseconds of each change, in their order."""
    took: dict[str, list[float]] = {name: [] for name in CHANGES}
    for _ in range(repeats):
        for name, more in CHANGES.items():
            took[name].append(page.evaluate(f"({_TIMED})({more})"))
        page.evaluate('rubricd.change({tab: "overview", q: "", sort: ""})')
    return {name: statistics.median(times) for name, times in took.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--criteria", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        results = write_results(Path(folder) / "made.jsonl", args.rows, criteria=args.criteria)
        began = time.perf_counter()
        path = Path(folder) / "made.html"
        write([Source("made", read(results))], path)
        wrote_s = time.perf_counter() - began
        began = time.perf_counter()
        with opened(browser, path.as_uri()) as page:
            page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
            loaded_s = time.perf_counter() - began
            before_s = cpu_s()
            found = {name: round(ms, 1) for name, ms in measure(page, args.repeats).items()}
            each_ms = 1000 * (cpu_s() - before_s) / args.repeats / (len(CHANGES) + 1)
        about = {"rows": args.rows, "criteria": args.criteria, "page_bytes": path.stat().st_size}
        took = {"wrote_s": round(wrote_s, 2), "loaded_s": round(loaded_s, 2), "cpu_ms_of_a_change": round(each_ms, 1)}
        print(json.dumps({**about, **took, "median_ms": found}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

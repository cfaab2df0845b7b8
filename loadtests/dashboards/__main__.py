"""Does every panel of the dashboards show something? A real Prometheus scrapes real services under a load that touches
everything, and every query of every panel is asked of it as Grafana would ask, variables and all.

A panel is empty where a query of it has no number at any time, or reads a series that is not there (which
`or vector(0)` would hide). The last line counts them; the exit status is 1 unless it is 0.

    python -m loadtests.dashboards [--seconds 60] [FILE.json …]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from loadtests.dashboards.hosts import Hosts, hosts
from loadtests.dashboards.load import Load
from loadtests.dashboards.panels import Looked, empty, look, report
from testkit.dashboard_queries import FILES, Shown
from testkit.processes import ROOT, Failed
from testkit.prometheus import Prometheus, prometheus

RECORDING = ROOT / "deploy" / "prometheus" / "recording.yml"
SCRAPE_S, STEP_S = 1.0, 2.0
SPEED = 15.0
"""Rules are evaluated every 15 s; here every second."""


def observe(source: Prometheus, services: Hosts, files: Sequence[Path], seconds: float) -> list[Looked]:
    """Load for so long, then every dashboard. Raises Failed where the load is not answered as it must be."""
    load = Load(services)
    began = time.time()
    asyncio.run(_shown(load, seconds))
    until = time.time()
    print("answers:", ", ".join(f"{many} x {status}" for status, many in sorted(load.statuses.items())))
    shown = Shown(began, until, STEP_S, SCRAPE_S)
    return [look(source, file, shown) for file in tqdm(files, desc="dashboards", unit="board")]


async def _shown(load: Load, seconds: float) -> None:
    with tqdm(total=round(seconds), desc="load", unit="s") as bar:
        running = asyncio.create_task(load.run(seconds))
        while not running.done():
            await asyncio.wait([running], timeout=1)
            bar.update(min(1, bar.total - bar.n))
        await running


def check(files: Sequence[Path], seconds: float, folder: Path) -> list[Looked]:
    """Services, Prometheus, load, queries; `folder` holds their files."""
    print("starting four services and a Prometheus", flush=True)
    rules = [RECORDING] if RECORDING.exists() else []
    with (
        hosts(folder) as services,
        prometheus(folder / "prometheus", services.targets, rules=rules, scrape_s=SCRAPE_S, speed=SPEED) as source,
    ):
        return observe(source, services, files, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.dashboards", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=FILES, help="dashboards as JSON (those of deploy/)")
    parser.add_argument("--seconds", type=float, default=60, help="of load (60)")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            looked = check(options.files, options.seconds, Path(folder))
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(report(looked))
    return 1 if empty(looked) else 0


if __name__ == "__main__":
    sys.exit(main())

"""What one hostile caller does to another: a row for each attack that once stopped, slowed or ended the service.

Each attack goes to the real service (`python -m service serve --engine local`, the bundled judge, a teams file), or to
two of them behind the shipped nginx. Beside it another team asks small questions. The goals of a row: the victim's p99
is at most 50 ms or twice higher than without the attack, all its questions are judged, the event loop is at most 50 ms
late, memory comes back within 10 %, and no replica dies of more than 3 GiB. The attacker, the victim and the service
share this machine's cores; how late the drill itself was is printed beside the loop's lateness.

    python -m loadtests.callers [--only WORDS] [--quick] [--seconds 5] [--cap 25] [--json FILE] [--markdown FILE]
                                [--plot FILE] [--earlier JSON]
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from loadtests.callers.drill import Outcome, carry_out
from loadtests.callers.report import from_json, plot, table, to_json
from loadtests.callers.rows import ROWS, Row, Site
from loadtests.callers.site import Front, front

TRIES = 2
GOALS_OF_TIME = {"p99", "loop", "answer"}
"""A row that misses these alone is carried out once more: another program may have had the cores."""


class Sites:
    """One site at a time. It serves the next row too, unless the last one left it busy, swollen or dead."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._site: Site | None = None
        self._front: Front | None = None
        self._stack = ExitStack()

    def of(self, row: Row, last: Outcome | None) -> Front:
        spoilt = last is not None and not {"answer", "memory", "killed"}.isdisjoint(last.missed)
        if self._front is None or self._site != row.site or spoilt or not self._front.healthy:
            self.close()
            self._front, self._site = self._stack.enter_context(front(row.site, self._engine)), row.site
        return self._front

    def close(self) -> None:
        self._stack.close()
        self._front = None


def run(rows: Sequence[Row], engine: str, seconds: float, cap_s: float) -> list[Outcome]:
    found: list[Outcome] = []
    sites = Sites(engine)
    try:
        with tqdm(rows, unit="row") as bar:
            for row in bar:
                bar.set_description(row.name)
                one, last = None, found[-1] if found else None
                for _ in range(TRIES):
                    last = asyncio.run(carry_out(row, sites.of(row, last), seconds, cap_s))
                    one = last if one is None else better(one, last)
                    if not one.missed or not set(one.missed) <= GOALS_OF_TIME:
                        break
                assert one is not None
                found.append(one)
                bar.write(table([one]).splitlines()[2])
    finally:
        sites.close()
    return found


def better(one: Outcome, other: Outcome) -> Outcome:
    """The one that missed less, or with the lower p99."""
    return min(one, other, key=lambda outcome: (len(outcome.missed), outcome.during.p99_ms))


def main() -> int:
    """Exit status 0 where every row reached its goals."""
    options = _options()
    rows = [row for row in ROWS if options.only in row.name and (row.quick or not options.quick)]
    found = run(rows, options.engine, options.seconds, options.cap)
    print(table(found))
    if options.json:
        options.json.write_text(to_json(found), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(table(found) + "\n", encoding="utf-8")
    if options.plot:
        earlier = from_json(options.earlier.read_text(encoding="utf-8")) if options.earlier else []
        plot(found, options.plot, earlier)
    return int(any(one.missed for one in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.callers", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="rows that take little memory and time")
    parser.add_argument("--engine", default="local", help="the judge's engine (local)")
    parser.add_argument("--seconds", type=float, default=5, help="of each phase (5)")
    parser.add_argument("--cap", type=float, default=25, help="seconds after which an attack is cut off (25)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--plot", type=Path, help="write a picture to this file")
    parser.add_argument("--earlier", type=Path, help="draw the figures of this earlier --json too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

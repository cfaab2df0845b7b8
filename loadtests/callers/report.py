"""Writes what the drill found: a table in Markdown, the figures as JSON, and a picture of the victim's p99."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.callers.drill import Outcome, Phase


def table(found: Sequence[Outcome]) -> str:
    """A row for each attack; what missed its goal is named in the last column."""
    lines = [
        "| attack | attacker's answers | victim p99, ms: before | during | not judged | loop late, ms "
        "| drill itself late, ms | RSS, MiB: before | peak | after | killed | missed |",
        "|---|---|" + "---:|" * 9 + "---|",
    ]
    for one in found:
        unserved = ", ".join(f"{count} x {why}" for why, count in sorted(one.during.unserved.items())) or "0"
        lines.append(
            f"| {one.row} | {one.attacker} | {one.before.p99_ms:.0f} | {one.during.p99_ms:.0f} "
            f"| {unserved} of {one.during.requests} | {one.during.loop_ms:.0f} | {one.during.own_late_ms:.0f} "
            f"| {one.rss_before:.0f} | {one.rss_peak:.0f} | {one.rss_after:.0f} | {one.killed} "
            f"| {', '.join(one.missed) or 'none'} |"
        )
    good = sum(not one.missed for one in found)
    lines += ["", f"{good} of {len(found)} rows reached every goal; {sum(one.killed for one in found)} replicas killed"]
    return "\n".join(lines)


def to_json(found: Sequence[Outcome]) -> str:
    return json.dumps([asdict(one) for one in found], indent=1) + "\n"


def from_json(text: str) -> list[Outcome]:
    """The rows of an earlier run."""
    return [_outcome(one) for one in json.loads(text)]


def _outcome(facts: dict[str, Any]) -> Outcome:
    return Outcome(**{**facts, "before": Phase(**facts["before"]), "during": Phase(**facts["during"])})


def plot(found: Sequence[Outcome], path: Path, earlier: Sequence[Outcome] = ()) -> None:
    """A line for each attack: the victim's p99 without it and beside it, and beside it in the earlier run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots()
    places = {one.row: len(found) - place for place, one in enumerate(found)}
    was = [one for one in earlier if one.row in places]
    axes.scatter([one.during.p99_ms for one in was], [places[one.row] for one in was], color="#e8b4bc", label="earlier")
    axes.scatter([o.before.p99_ms for o in found], [places[o.row] for o in found], color="#9bb8d3", label="alone")
    axes.scatter([o.during.p99_ms for o in found], [places[o.row] for o in found], color="#d1495b", label="beside it")
    axes.set(xscale="log", xlabel="p99 of the victim's requests, ms", title="One caller beside another's attack")
    axes.set_yticks([*places.values()], [*places])
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=110)

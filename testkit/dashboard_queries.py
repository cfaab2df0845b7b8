"""Reads the dashboards' queries to Prometheus from the JSON that Grafana gets, with its variables as Grafana puts them.

Guarantees: A query in which a variable is left raises Failed. Nothing here knows how the dashboards were made.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testkit.processes import ROOT, Failed

FILES = tuple(sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")))
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of one panel; `instant` is asked for the end of the time shown."""

    name: str
    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """`drawn` is all of Grafana's JSON for it, `row` the title of its row."""

    board: str
    row: str
    title: str
    queries: tuple[Asked, ...]
    drawn: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.board} / {self.title}"


@dataclass(frozen=True, slots=True)
class Shown:
    """The time that a dashboard shows, in seconds since the epoch, and how often it was scraped."""

    start: float
    end: float
    step_s: float
    scrape_s: float

    def variables(self) -> dict[str, str]:
        """As Grafana computes them."""
        rate_s = max(self.step_s + self.scrape_s, 4 * self.scrape_s)
        return {
            "__interval": _duration(self.step_s),
            "__range": _duration(self.end - self.start),
            "__rate_interval": _duration(rate_s),
        }


def panels(file: Path) -> tuple[Panel, ...]:
    """In their order on the page, those of closed rows too."""
    board = json.loads(file.read_text(encoding="utf-8"))
    return tuple(_panels(board["title"].partition(": ")[2], board["panels"]))


def _panels(board: str, drawn: Sequence[Mapping[str, Any]], row: str = "") -> Iterator[Panel]:
    for one in drawn:
        if one["type"] == "row":
            row = one["title"]
            yield from _panels(board, one["panels"], row)
        else:
            asked = (
                Asked(t["refId"], t["expr"], t.get("legendFormat", ""), t.get("instant", False)) for t in one["targets"]
            )
            yield Panel(board, row, one["title"], tuple(asked), one)


def chosen(file: Path, **values: str) -> dict[str, str]:
    """The dashboard's own variables as they are at first, and `values`: of several everything is chosen."""
    board = json.loads(file.read_text(encoding="utf-8"))
    found = {one["name"]: one for one in board["templating"]["list"]}
    if unknown := values.keys() - found.keys():
        raise Failed(f"{file.name} has no variable {', '.join(sorted(unknown))}")
    first = {name: one["allValue"] for name, one in found.items() if one.get("includeAll")}
    return {**first, **values}


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """Raises Failed for a variable that has no value."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in variables:
            raise Failed(f"${name} has no value in {expr}")
        return variables[name]

    return _VARIABLE.sub(value, expr)


def selectors(expr: str) -> list[str]:
    """Every series that a query reads, `metric{…}`, once each."""
    return [*dict.fromkeys(_SELECTOR.findall(expr))]


def metrics(expr: str) -> set[str]:
    return {one.partition("{")[0] for one in selectors(expr)}


def bare(expr: str) -> str:
    """Without its selectors and strings: what is left has no name of a metric."""
    return _STRING.sub('""', _SELECTOR.sub("", expr))


def _duration(seconds: float) -> str:
    return f"{math.ceil(1000 * seconds)}ms"

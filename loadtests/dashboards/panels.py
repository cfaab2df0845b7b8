"""A dashboard's panels with what their queries found in a Prometheus, asked as Grafana would ask, variables and all.

Guarantees: A panel of which a query has no number at any time is empty, and so is one that reads a series that is not
there, which `or vector(0)` would hide.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from testkit.dashboard_queries import Asked, Panel, Shown, chosen, filled, panels, selectors
from testkit.prometheus import JOB, Prometheus, Series

PRICE = "2"
"""Of one judge's hour, as somebody would type it: without a price there is no cost."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A panel's queries found these series, in their order; `missing` says what is not there."""

    panel: Panel
    found: tuple[tuple[Series, ...], ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """One dashboard, looked at for the time of `shown`."""

    file: Path
    shown: Shown
    answers: tuple[Answered, ...]


def look(source: Prometheus, file: Path, shown: Shown) -> Looked:
    """Every panel's answers. Raises Failed for a query that Prometheus does not understand."""
    drawn = panels(file)
    price = {"price": PRICE} if '"price"' in file.read_text(encoding="utf-8") else {}
    variables = {**chosen(file, job=JOB, datasource="prometheus", **price), **shown.variables()}
    exprs = {asked: filled(asked.expr, variables) for panel in drawn for asked in panel.queries}
    found = {asked: tuple(_ask(source, asked, expr, shown)) for asked, expr in exprs.items()}
    read = {selector for expr in exprs.values() for selector in selectors(expr)}
    unread = {one for one in read if not source.query_range(f"count({one})", shown.start, shown.end, shown.step_s)}
    answers = (
        Answered(
            panel,
            tuple(found[asked] for asked in panel.queries),
            tuple(why for asked in panel.queries for why in _missing(asked, exprs[asked], found[asked], unread)),
        )
        for panel in drawn
    )
    return Looked(file, shown, tuple(answers))


def _ask(source: Prometheus, asked: Asked, expr: str, shown: Shown) -> list[Series]:
    return source.query_range(expr, shown.end if asked.instant else shown.start, shown.end, shown.step_s)


def _missing(asked: Asked, expr: str, found: Sequence[Series], unread: Container[str]) -> list[str]:
    nothing = not any(math.isfinite(value) for series in found for _, value in series.points)
    gone = [f"{asked.name} reads nothing: {one}" for one in selectors(expr) if one in unread]
    return [f"{asked.name} shows nothing: {expr}"] * nothing + gone


ELSEWHERE = frozenset(
    {
        "Shadow",
        "Disagreement of panels",
        "Members of panels",
        "Engines of several judges",
        "Cost by team in the time range",
    }
)
"""Panels about several judges, and one about money that only a foreign server names: nothing here is either."""


def empty(looked: Sequence[Looked]) -> list[Answered]:
    """Those that show nothing, but for panels of what these services are not."""
    answers = (one for each in looked for one in each.answers)
    return [one for one in answers if one.missing and one.panel.title not in ELSEWHERE]


def report(looked: Sequence[Looked]) -> str:
    """The panels that are empty, and why; the last line counts them."""
    lines = [f"{one.panel.name}: {why}" for one in empty(looked) for why in one.missing]
    return "\n".join([*lines, f"{len(empty(looked))} of {sum(len(one.answers) for one in looked)} panels are empty"])

"""Shows how a run's rewards are on a page: alarms with what to do, charts over the steps, and a table of criteria.

Guarantees: a figure without a value has no number. The sections of this page are those of a run's report, too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trainer_client.pages.charts import Line, figure, script, spark
from trainer_client.pages.document import badge, document, folded, number, row, section, table, tile
from trainer_client.watch.alarms import Alarm
from trainer_client.watch.criteria import least_informative
from trainer_client.watch.health import Course, Health, pass_rates
from trainer_client.watch.observed import Named, without_sign
from trainer_client.watch.probes import ANSWERED

_SHOWN = 12
# Heading, explanation, and the (colour, name, figure) of each line.
_CHARTS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "What groups teach",
        "Share of the groups whose rewards are all equal, and of the answers that another one of the group repeats. "
        "Both teach nothing.",
        (("one", "equal rewards", "no_spread"), ("two", "repeated answers", "identical")),
    ),
    (
        "Whether length decides",
        "Share of the pairs of a group in which the longer answer has the higher reward; 0.5 says nothing.",
        (("three", "the longer one wins", "longer_wins"),),
    ),
    (
        "Against the other judges",
        "Points that the judge credits beyond the other judges, and the share of its credit that every other one "
        "rejects. Both rise where the policy learns a shortcut.",
        (("one", "gap", "gap"), ("two", "rejected share of the credit", "overclaim")),
    ),
    (
        "Exploitation rate",
        "Of the points that are newly credited since the evaluation before: the share that every other judge rejects.",
        (("two", "exploitation rate", "exploitation"),),
    ),
)


def page(found: Health, name: str) -> str:
    """The whole page as HTML."""
    title = f"{Path(name).resolve().name}: rewards watched"
    rollouts = found.table.step.shape[0]
    subtitle = f"{rollouts:,} rollouts of {np.unique(found.table.step).shape[0]:,} steps."
    return document(title, subtitle, tiles=tiles(found), sections=sections(found), script=script())


def tiles(found: Health) -> Iterator[str]:
    """How many alarms there are, and the figures of the whole log."""
    yield tile(f"{found.count:,}", "alarms and findings", verdict=_verdict(found))
    for name, about in (
        ("no_spread", "groups with equal rewards"),
        ("identical", "answers that are repeated"),
        ("longer_wins", "the longer answer wins"),
        ("gap", "gap to the other judges"),
    ):
        value = found.run[name].value if name in found.run else None
        if value is not None:
            yield tile(number(value), about)


def sections(found: Health, updates: int | None = None) -> Iterator[str]:
    """The sections about the rewards' health. A run's log counts `updates`, so many to a batch of rollouts; of another
    log nothing is known but its steps."""
    yield _alarms(found, updates)
    for heading, about, series in _CHARTS:
        drawn = [(colour, name, found.course[what]) for colour, name, what in series if what in found.course]
        if any(len(points) > 1 for _, _, points in drawn):
            yield _chart(heading, about, drawn, updates)
    if found.trend is not None:
        points = [(step, gap.value) for step, gap in zip(found.trend.steps, found.trend.gaps, strict=True)]
        about = (
            "Log-probability of a token of answers that the policy wrote with the rubric, without it less with it. It "
            f"is greatest at {_unit(updates)} {found.trend.best / (updates or 1):g}; where it falls, stop."
        )
        yield _chart("Self-internalisation gap", about, [("three", "gap", points)], updates, shares=False)
    yield _criteria(found)


def _verdict(found: Health) -> str:
    return "pass" if found.is_well else "fail" if found.alarms else "warn"


def _unit(updates: int | None) -> str:
    return "step" if updates is None else "batch"


def _alarms(found: Health, updates: int | None) -> str:
    rows = [_alarm(one, updates) for one in found.alarms]
    if found.trend is not None and found.trend.fallen is not None:
        step = found.trend.fallen / (updates or 1)
        cells = ("the self-internalisation gap falls", ""), (f"{step:g}", "n"), ("", "n"), ("", "n")
        rows.append(row((*cells, ("stop", ""), ("take the checkpoint at which it was greatest", "text"))))
    for one in found.findings:
        what = f"{ANSWERED[one.answer]} meets: {_text(one.criterion)}"
        cells = (what, "text"), ("", "n"), (number(one.p, 2), "n"), ("", "n")
        rows.append(row((*cells, (one.action, ""), (one.advice, "text"))))
    chance = f"The chance that an honest run ever raises an alarm is at most {found.declared.chance:.2%}."
    if not rows and not found.is_judged:
        return section("Reward health", "Nothing was judged, so nothing could be watched.", "", mark=badge("?", "warn"))
    if not rows:
        return section("Reward health", f"No alarm. {chance}", "", mark=badge("well", "pass"))
    head = "What", (_unit(updates), "n"), ("value", "n"), ("limit", "n"), "Do", "Because"
    mark = badge(f"{len(rows):,} to look at", _verdict(found))
    rest = folded(f"{len(rows) - _SHOWN:,} more", table(head, rows[_SHOWN:])) if len(rows) > _SHOWN else ""
    return section("Reward health", chance, table(head, rows[:_SHOWN]) + rest, mark=mark)


def _alarm(one: Alarm, updates: int | None) -> str:
    each = updates or 1
    what = _KINDS[one.kind] + ("" if one.criterion is None else f": {_text(one.criterion)}")
    at = f"{one.step / each:g}" + ("" if one.began == one.step else f", since about {one.began / each:g}")
    figures = (at, "n"), (number(one.value, 2), "n"), (number(one.limit, 2), "n")
    return row(((what, "text"), *figures, (one.action, ""), (one.advice, "text")))


_KINDS = {
    "shortcut": "the judge credits more and more that others reject",
    "overclaimed": "credited, and rejected by every other judge",
    "no_spread": "groups without a difference",
    "identical": "repeated answers",
    "length": "length decides the reward",
    "always_met": "always met",
    "never_met": "never earned",
    "against_rest": "against the rest of the rubric",
}


def _chart(
    heading: str,
    about: str,
    drawn: Sequence[tuple[str, str, Course]],
    updates: int | None,
    *,
    shares: bool = True,
) -> str:
    lines = [
        Line(name, colour, [(step / (updates or 1), value) for step, value in points]) for colour, name, points in drawn
    ]
    low, high = (0.0, 1.0) if shares else (None, None)
    return section(heading, about, figure(heading, lines, low=low, high=high, across=_unit(updates)), wide=False)


def _criteria(found: Health) -> str:
    own = found.criteria
    order = least_informative(own)
    if not order:
        return ""
    head = (
        "Criterion",
        ("points", "n"),
        ("met", "n"),
        ("informative", "n"),
        ("discrimination", "n"),
        ("length", "n"),
        ("groups", "n"),
        "over the run",
    )
    rows = [_criterion(found, place) for place in order[: 5 * _SHOWN]]
    about = (
        "The fewest informative groups first, in which some answers meet the criterion and some do not. Discrimination "
        "is the correlation with the rest of the rubric, within groups; below 0 the criterion works against it."
    )
    if found.table.without_sign:
        about += f" {without_sign(found.table)}."
    more = rows[_SHOWN:]
    rest = folded(f"{len(more)} more", table(head, more)) if more else ""
    return section("Criteria and what they teach", about, table(head, rows[:_SHOWN]) + rest)


def _criterion(found: Health, place: int) -> str:
    own, named = found.criteria, found.table.criteria[place]
    figures = (own.pass_rate, own.informative, own.discrimination, own.length)
    points = "sign unknown" if named.points is None else f"{named.points:g}".replace("-", "\N{MINUS SIGN}")
    cells = [(_text(named), "text"), (points, "n")]
    cells += [(number(_known(one[place]), 2), "n") for one in figures]
    line = spark([(float(step), value) for step, value in pass_rates(found.table, place)], worse=named.is_fault)
    return row([*cells, (f"{own.groups[place]:,}", "n")], more=f"<td>{line}</td>")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(one: Named) -> str:
    return one.text or one.id

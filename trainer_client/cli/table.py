"""Shows a scored file to a person: a progress bar and one table, in plain text where rich is not installed.

Guarantees: a criterion that was not judged is shown with its reason, and counts neither as met nor as not met.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from trainer_client import wire
from trainer_client.cli.drawing import (
    BarColumn,
    Console,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Table,
    Task,
    Text,
    TextColumn,
    TimeRemainingColumn,
    console_for_tables,
)
from trainer_client.client import Failed, Outcome, Scored

_MOST_ROWS = 20
_BAR_WIDTH = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Judged:
    """One criterion of one response, with the rubric's text and the judge's result."""

    id: str
    text: str
    axis: str | None
    result: wire.CriterionResult

    @property
    def sign(self) -> int:
        return (self.result.points > 0) - (self.result.points < 0)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


@contextlib.contextmanager
def progress(total: int, more: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr that is told how many more are done, and ends with what `more` says then."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[more]}", style="red"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("", total=total, more="")
        yield lambda some: bars.update(bar, advance=some, more=more())


def show(items: Sequence[wire.Item], outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Prints every verdict of a few criteria; of many how often each is met, by text, or by axis and sign where texts
    differ."""
    judged = list(_judged(items, outcomes))
    if judged:
        table = _verdicts(judged, outcomes) if len(judged) <= _MOST_ROWS else _shares(judged)
        (console or console_for_tables()).print(table)
    elif any(isinstance(outcome, Scored) for outcome in outcomes):
        (console or console_for_tables()).print(_scores(outcomes))
    toys = {outcome.judge.model for outcome in outcomes if isinstance(outcome, Scored) and outcome.judge.toy}
    for model in sorted(toys):
        note = f"judge {model} is a toy: believe none of these verdicts"
        (console or Console()).print(Text(note, style="yellow"), soft_wrap=True)


def _judged(items: Sequence[wire.Item], outcomes: Sequence[Outcome]) -> Iterator[Judged]:
    owners = [item for index, item in enumerate(items) for _ in item.result_ids(index)]
    for item, outcome in zip(owners, outcomes, strict=True):
        if isinstance(outcome, Failed) or item.rubric is None:
            continue
        criteria = dict(zip(item.rubric.ids(), item.rubric.criteria, strict=True))
        for result in outcome.result.criteria:
            if result.id in criteria:
                criterion = criteria[result.id]
                yield Judged(outcome.id, criterion.text, criterion.tags.get("axis"), result)


def _verdicts(judged: Iterable[Judged], outcomes: Sequence[Outcome]) -> Table:
    table = _table("criterion", "points", "verdict", "P(met)")
    by_id: dict[str, list[Judged]] = {}
    for one in judged:
        by_id.setdefault(one.id, []).append(one)
    for outcome in outcomes:
        if outcome.id not in by_id:
            continue
        table.add_row(Text(f"response {outcome.id}", style="bold"), "", *_score_cells(outcome))
        for one in by_id[outcome.id]:
            share = one.result.p if one.result.value is None else one.result.value
            table.add_row(Text(f"  {one.text}"), _points([one]), _verdict(one), bar(share, one.sign))
        table.add_section()
    return table


def _score_cells(outcome: Outcome) -> tuple[Text, Text]:
    if isinstance(outcome, Failed):
        return Text(outcome.error.code, style="yellow"), Text()
    if outcome.result.score is None:
        return Text("no score", style="yellow"), Text(f"{outcome.result.coverage:.0%} judged", style="dim")
    return Text(f"{outcome.result.score:.3f}", style="bold"), Text()


def _verdict(one: Judged) -> Text:
    if one.result.met is None:
        return Text(one.result.status, style="yellow")
    good = one.result.met == (one.sign > 0)
    style = "dim" if one.sign == 0 else "green" if good else "red"
    said = "met" if one.result.met else "not met"
    if one.result.level is not None and one.result.p_levels is not None:
        said = f"level {one.result.level + 1} of {len(one.result.p_levels)}"
    elif one.result.extracted is not None:
        said = f"{said}: {one.result.extracted}"
    return Text(said, style=style)


def _shares(judged: Sequence[Judged]) -> Table:
    groups = _grouped(judged)
    listed = (
        sorted(groups, key=lambda key: -len(groups[key]))[:_MOST_ROWS] if len(groups) > _MOST_ROWS else list(groups)
    )
    table = _table("criterion", "points", "n", "met", "mean P(met)", "not judged")
    for key in listed:
        group = groups[key]
        verdicts = [one.result.met for one in group if one.result.met is not None]
        chances = [one.result.p for one in group if one.result.p is not None]
        unjudged = len(group) - len(verdicts)
        table.add_row(
            Text(key[0]),
            _points(group),
            str(len(group)),
            f"{fmean(verdicts):.0%}" if verdicts else "",
            bar(fmean(chances) if chances else None, key[1]),
            Text(str(unjudged), style="yellow") if unjudged else "",
        )
    if len(groups) > len(listed):
        table.caption = f"and {len(groups) - len(listed)} more that occur less often"
    return table


def _grouped(judged: Sequence[Judged]) -> dict[tuple[str, int], list[Judged]]:
    """Groups by text where texts repeat; where each text is used once, by axis (as in HealthBench) and sign."""
    texts = {one.text for one in judged}
    repeats = len(texts) <= _MOST_ROWS or len(judged) >= 2 * len(texts)
    kinds = {1: "wanted", -1: "faults", 0: "monitored"}
    groups: dict[tuple[str, int], list[Judged]] = {}
    for one in judged:
        label = one.text if repeats else f"{kinds[one.sign]}, {one.axis}" if one.axis else kinds[one.sign]
        groups.setdefault((label, one.sign), []).append(one)
    return groups if repeats else dict(sorted(groups.items(), key=lambda group: (-group[0][1], group[0][0])))


def _scores(outcomes: Sequence[Outcome]) -> Table:
    """The table of the rating modes, which judge a response as a whole."""
    table = _table("response", "rating", "score")
    for outcome in outcomes[:_MOST_ROWS]:
        rating = outcome.result.rating if isinstance(outcome, Scored) else None
        cells = _score_cells(outcome)
        table.add_row(outcome.id, f"{rating.expected:.1f}" if rating else "", cells[0])
    if len(outcomes) > _MOST_ROWS:
        table.caption = f"the first {_MOST_ROWS} of {len(outcomes)}"
    return table


def bar(share: float | None, sign: int) -> Text:
    """A share of 0..1 as a bar and a number; green where it is wanted, red where it is a fault."""
    if share is None:
        return Text()
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_WIDTH * 8)
    blocks = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    style = {1: "green", -1: "red", 0: "dim"}[sign]
    return Text.assemble((f"{blocks:<{_BAR_WIDTH}}", style), f" {share:.2f}")


def _points(group: Sequence[Judged]) -> str:
    points = sorted({one.result.points for one in group})
    return f"{points[0]:+g}" if len(points) == 1 else f"{points[0]:+g} … {points[-1]:+g}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, caption_justify="left")
    table.add_column(first, no_wrap=True, overflow="ellipsis", ratio=1)
    for name in others:
        table.add_column(name, justify="right" if name in ("points", "n", "met", "not judged", "score") else "left")
    table.expand = True
    return table

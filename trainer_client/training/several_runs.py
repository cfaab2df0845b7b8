"""Shows several runs on one page: their lines over each other, their final figures with differences, and what differs.

Guarantees: a figure that a run lacks is empty, and so is a difference from it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_client.agreement.spent import shown
from trainer_client.pages import charts
from trainer_client.pages.charts import COLOURS, Line
from trainer_client.pages.document import document, number, row, section, table, tile
from trainer_client.training.report import page as report
from trainer_client.training.report.charts import (
    BY_WHOLE_RUBRIC,
    CHARTS,
    Chart,
    Logs,
    has,
    last_tenth,
    points,
    read_logs,
)
from trainer_client.training.report.cost import Prices, figures
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError

MOST = len(COLOURS)
Show = Callable[[float], str]
_FINAL: Mapping[str, str] = {
    "reward/bare": "reward, bare prompt",
    "eval_reward": "held-out reward",
    "eval_examiner/reward/bare": "held-out score by the examiner",
    "judge/met_share": "share of criteria met",
    "reward_std": "spread of the reward",
    "frac_reward_zero_std": "groups with equal rewards",
    "completions/clipped_ratio": "answers cut off",
    "completions/mean_length": "tokens of an answer",
    "entropy": "entropy",
    "kl": "KL from the start",
    "grad_norm": "norm of the gradient",
    "judge/none_share": "rollouts without a reward",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its name on the page, its log, and its run config, field by field."""

    name: str
    logs: Logs
    fields: Mapping[str, Any]
    judges: Sequence[str]


def write(folders: Sequence[Path], path: Path, prices: Prices = (None, None)) -> None:
    """Writes the page. Raises RunConfigError where a folder holds no run, or there are more runs than colours."""
    if len(folders) > MOST:
        raise RunConfigError(f"{len(folders)} runs are too many for one page: give at most {MOST}")
    path.write_text(page(list(map(_read, _names(folders), folders)), prices), encoding="utf-8")


def page(runs: Sequence[Run], prices: Prices = (None, None)) -> str:
    """The whole page as HTML."""
    last = [max((log["step"] for log in run.logs), default=0) for run in runs]
    return document(
        " and ".join(run.name for run in runs),
        "Lines of several runs over each other. Differences are from the first one.",
        tiles=[tile(f"{step:g}", f"batches of {run.name}") for run, step in zip(runs, last, strict=True)],
        sections=(_final(runs), _cost(runs, prices), *_charts(runs), _differences(runs)),
        script=charts.script(),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, with those above where these are the same."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    raise RunConfigError("the same run is named twice")


def _read(name: str, folder: Path) -> Run:
    report.check_run(folder)
    config = run_config.recorded(folder)
    logs = read_logs(folder / "metrics.jsonl", config.updates)
    judges = [f"{one['model']} {one['fingerprint']}" for one in run_dir.judges(folder)]
    return Run(name, logs, dict(run_dir.flat(config.model_dump(mode="json"))), judges)


def _charts(runs: Sequence[Run]) -> Iterator[str]:
    unchanged = not any(has(run.logs, "rubric/dropped_share") for run in runs)
    for chart in CHARTS:
        if unchanged and chart.heading == BY_WHOLE_RUBRIC:
            continue
        for _, name, metric in chart.series:
            there = [(place, run) for place, run in enumerate(runs) if has(run.logs, metric)]
            if there:
                lines = [Line(run.name, COLOURS[place], points(run.logs, metric)) for place, run in there]
                yield _chart(chart, name, lines)


def _chart(chart: Chart, name: str, lines: Sequence[Line]) -> str:
    heading = chart.heading if len(chart.series) == 1 else f"{chart.heading}: {name}"
    inner = charts.figure(heading, lines, low=chart.low, high=chart.high)
    return section(heading, chart.about, inner, wide=False)


def _final(runs: Sequence[Run]) -> str:
    found = {about: [last_tenth(run.logs, metric) for run in runs] for metric, about in _FINAL.items()}
    about = "Mean of the last tenth of the log."
    return section("Final figures", about, _table(runs, found, number))


def _cost(runs: Sequence[Run], prices: Prices) -> str:
    each = [dict(figures(run.logs, prices)) for run in runs]
    names = list(dict.fromkeys(name for one in each for name in one))
    found: dict[str, list[float | None]] = {name: [one.get(name) for one in each] for name in names}
    return (
        section("What judging took", "Of the whole run, by one process of it.", _table(runs, found, shown))
        if found
        else ""
    )


def _table(runs: Sequence[Run], found: Mapping[str, Sequence[float | None]], show: Show) -> str:
    """A row for each figure that some run has; of every run but the first, with the difference from the first."""
    head: list[Any] = ["Figure", (runs[0].name, "n")]
    for run in runs[1:]:
        head += [(run.name, "n"), ("difference", "n")]
    rows = []
    for about, values in found.items():
        if all(value is None for value in values):
            continue
        cells = [(about, "name"), (_told(values[0], show), "n")]
        for value in values[1:]:
            cells += [(_told(value, show), "n"), (_difference(values[0], value, show), "n")]
        rows.append(row(cells))
    return table(head, rows)


def _told(value: float | None, show: Show) -> str:
    return "" if value is None else show(value)


def _difference(first: float | None, value: float | None, show: Show) -> str:
    if first is None or value is None:
        return ""
    size = show(abs(value - first))
    sign = "" if not float(size.replace(",", "")) else "+" if value > first else "\N{MINUS SIGN}"
    return f"{sign}{size}"


def _differences(runs: Sequence[Run]) -> str:
    """The fields of the run configs that are not the same in all, and the judges where these differ."""
    names = list(dict.fromkeys(name for run in runs for name in run.fields))
    rows = [
        row(((name, "name"), *((_plain(run.fields.get(name)), "text") for run in runs)))
        for name in names
        if name != "out" and len({repr(run.fields.get(name)) for run in runs}) > 1
    ]
    if len({tuple(run.judges) for run in runs}) > 1:
        rows.insert(0, row((("judge", "name"), *((", then ".join(run.judges) or "none yet", "text") for run in runs))))
    if not rows:
        return section("What differs", "Nothing: the runs have the same config and the same judge.", "")
    about = "Fields of the run configs that are not the same."
    return section("What differs", about, table(("Field", *(run.name for run in runs)), rows))


def _plain(value: Any) -> str:
    return "none" if value is None else str(value)

"""Writes `report.html` of a run from the files in its folder: one page that loads nothing else.

Guarantees: a rollout that was not judged is counted as not judged. A metric without a value has no chart and no number.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.pages import charts
from trainer_client.pages.document import document, folded, number, row, section, table, tile
from trainer_client.rollouts import opened, run_tables
from trainer_client.training.report.charts import BY_WHOLE_RUBRIC, CHARTS, Logs, drawn, has, last_tenth, read_logs
from trainer_client.training.report.cost import Prices, cost, money
from trainer_client.training.report.criteria import criteria, signs
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError
from trainer_client.watch import page as watch_page
from trainer_client.watch.health import Health
from trainer_client.watch.watching import Watcher

_TABLES_OF_SIGNS = 4
"""Tables of rollouts, the last ones, in which the signs of criteria are looked up."""


def write(folder: Path, health: Health | None = None, prices: Prices = (None, None)) -> Path:
    """Writes the page and returns its path. Raises RunConfigError where the folder holds no run."""
    check_run(folder)
    path = folder / "report.html"
    path.write_text(page(folder, health, prices), encoding="utf-8", errors="backslashreplace")
    return path


def check_run(folder: Path) -> None:
    """Raises RunConfigError where the folder holds no run."""
    if not (folder / "data.json").exists():
        raise RunConfigError(f"{folder} holds no run: `rubricd train` did not write it")


def page(folder: Path, health: Health | None = None, prices: Prices = (None, None)) -> str:
    """The whole page as HTML. `health` is that of the rewards, where judges were asked about them; `prices` are those
    of the judge's tokens."""
    run, rollouts = run_config.recorded(folder), _Rollouts.of(folder)
    logs = read_logs(folder / "metrics.jsonl", run.updates)
    judges = run_dir.judges(folder)
    named = ", then ".join(f"{one['model']} {one['fingerprint']}" for one in judges) or "no judge yet"
    alarms, *taught = _health(folder, run.updates, health) or [""]  # what to do comes first
    unchanged = not has(logs, "rubric/dropped_share")
    shown = (drawn(logs, chart) for chart in CHARTS if not (unchanged and chart.heading == BY_WHOLE_RUBRIC))
    return document(
        f"{folder.resolve().name}: {run.preset}",
        f"{Path(run.policy).name}, group {run.group}, {run.prompts_per_batch} prompts a batch; judged by {named}",
        tiles=_tiles(logs, rollouts, prices),
        script=charts.script(),
        sections=(
            alarms,
            *shown,
            *taught,
            criteria(logs, _signs(folder)),
            cost(logs, prices),
            rollouts.reasons(),
            rollouts.examples(),
            *_facts(folder),
        ),
    )


def _health(folder: Path, updates: int, health: Health | None) -> list[str]:
    """The sections about the rewards' health; none for a run without rollouts."""
    try:
        if health is None:
            watcher = Watcher(opened(folder), folder / "watch")
            health = watcher.look() if watcher.read() else None
        return [] if health is None else list(watch_page.sections(health, updates))
    except DataError as error:
        return [section("Reward health", f"It cannot be told: {error}.", "")]


def _signs(folder: Path) -> dict[str, int]:
    """The signs of criteria and tags in the last batches; none where these cannot be read."""
    last = run_tables.tables(folder / "completions", "completions")[-_TABLES_OF_SIGNS:]
    try:
        return signs(run_tables.rollouts(last, lambda said: None))
    except DataError:
        return {}


def _tiles(logs: Logs, rollouts: "_Rollouts", prices: Prices) -> Iterable[str]:
    last = max((log["step"] for log in logs), default=0)
    yield tile(f"{last:g}", "batches of rollouts")
    for metric, name, is_share in (
        ("reward/bare", "reward, bare prompt, last tenth", False),
        ("eval_reward", "held-out reward, last tenth", False),
        ("judge/met_share", "of the criteria met, last tenth", True),
        ("completions/clipped_ratio", "of the answers cut off, last tenth", True),
    ):
        value = last_tenth(logs, metric)
        if value is not None:
            yield tile(f"{number(100 * value, 1)} %" if is_share else number(value), name)
    spent = money(logs, prices)
    if spent is not None:
        yield tile(f"{spent:,.2f}", "money for the judge's tokens")
    if rollouts.statuses:
        missing = rollouts.statuses.total() - rollouts.statuses["ok"]
        yield tile(f"{missing:,} of {rollouts.statuses.total():,}", "rollouts not judged")


class _Rollouts:
    """The parts of TRL's tables of completions that the page uses."""

    def __init__(self, statuses: Counter[str], last: list[dict[str, Any]]) -> None:
        self.statuses = statuses
        self._last = last

    @classmethod
    def of(cls, folder: Path) -> "_Rollouts":
        files = sorted((folder / "completions").glob("completions_*.parquet"))
        if not files:
            return cls(Counter(), [])
        from pyarrow import ArrowException, parquet

        statuses: Counter[str] = Counter()
        with suppress(ArrowException):  # a training that was killed leaves the last one cut off
            for file in files:
                statuses.update(parquet.read_table(file, columns=["status"])["status"].to_pylist())
                last = file
        return cls(statuses, parquet.read_table(last).to_pylist() if statuses else [])

    def reasons(self) -> str:
        """A table of the rollouts that were not judged, by reason."""
        failed = Counter({status: count for status, count in self.statuses.items() if status != "ok"})
        if not self.statuses:
            return ""
        if not failed:
            return section("Why not judged", "Every rollout was judged.", "")
        rows = [
            row(((status, "name"), (str(count), "n"), (f"{count / self.statuses.total():.2%}".replace("%", " %"), "n")))
            for status, count in failed.most_common()
        ]
        about = "Rollouts that have no reward; they were left out of the baseline and had no advantage."
        return section("Why not judged", about, table((("Reason", ""), ("rollouts", "n"), ("share", "n")), rows))

    def examples(self) -> str:
        """A table of the best and the worst answers of the last batch."""
        judged = sorted((one for one in self._last if one["score"] is not None), key=lambda one: -one["score"])
        some = judged if len(judged) <= 4 else [*judged[:2], *judged[-2:]]
        if not some:
            return ""
        revealed = any(one.get("revealed_share") is not None for one in some)
        rows = [
            row(
                (
                    (number(one["score"]), "n"),
                    *([(number(one.get("revealed_share"), 2), "n")] if revealed else []),
                    (_last_text(one["prompt"]), "text"),
                    (_last_text(one["completion"]), "text"),
                )
            )
            for one in some
        ]
        more = [("revealed", "n")] if revealed else []
        head: list[str | tuple[str, str]] = [("score", "n"), *more, "Prompt", "Answer"]
        return section("Answers", "The best and the worst of the last batch.", table(head, rows))


def _last_text(turns: Any) -> str:
    if isinstance(turns, str):
        return turns
    return str(turns[-1]["content"]) if turns else ""


def _facts(folder: Path) -> Iterable[str]:
    named = [("Judge", one) for one in run_dir.judges(folder)]
    named += [("Examiner", one) for one in run_dir.judges(folder, "examiners")]
    for kind, judge in named:
        rows = [row(((name, "name"), (_plain(value), "text"))) for name, value in judge.items() if name != "from_step"]
        about = f"{judge['model']}, fingerprint {judge['fingerprint']}."
        yield section(
            f"{kind} from step {judge['from_step']} on",
            about,
            folded("all parts of its fingerprint", table((), rows)),
        )
    text = (folder / "run.yaml").read_text(encoding="utf-8")
    yield section("Run config", "With every field.", folded("run.yaml", f"<pre>{escape(text)}</pre>"))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {inner}" for key, inner in value.items())
    return "none" if value is None else str(value)

"""Writes `report.html` of a run from the files in its folder: one page that loads nothing else.

Guarantees: a rollout that was not judged is counted as not judged. A metric without a value has no chart and no number.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.pages import charts
from trainer_client.pages.charts import COLOURS, Points
from trainer_client.pages.document import document, folded, row, section, table, tile
from trainer_client.rollouts import opened
from trainer_client.training import run_config, run_dir
from trainer_client.training.run_config import RunConfigError
from trainer_client.watch import page as watch_page
from trainer_client.watch.health import Health
from trainer_client.watch.watching import Watcher

_CRITERION = "criteria/"
_SHOWN_ROWS = 12
_Logs = list[dict[str, Any]]

_BY_WHOLE_RUBRIC = "Reward by the whole rubric"
"""Of a run whose rubrics change."""

# Heading, explanation, (colour, name, metric) of each line, and the range that its axis covers at least.
_CHARTS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...], float | None, float | None], ...] = (
    (
        "Reward",
        "Mean of the rollouts that were judged.",
        (
            ("one", "bare prompt", "reward/bare"),
            ("two", "scaffolded prompt", "reward/scaffolded"),
            ("three", "held-out rows, bare prompt", "eval_reward"),
        ),
        0.0,
        None,
    ),
    (
        "By the examiner",
        "Mean score of the held-out rows, from the bare prompt, by a second judge who gives no rewards.",
        (("three", "held-out rows, bare prompt", "eval_examiner/reward/bare"),),
        0.0,
        None,
    ),
    (
        "Rubric revealed",
        "Share of its rubric that a rollout saw, mean.",
        (("two", "revealed share", "scaffold/revealed_share"),),
        0.0,
        1.0,
    ),
    (
        _BY_WHOLE_RUBRIC,
        "Mean score by what counts of each rubric, and the reward that all of its criteria would have given.",
        (("one", "what counts", "rewards/judge/mean"), ("two", "the whole rubric", "reward/full_rubric")),
        0.0,
        None,
    ),
    (
        "Rubrics that change",
        "Share of the criteria left out; share of the points that evolved criteria hold; groups without a proposal.",
        (
            ("one", "left out", "rubric/dropped_share"),
            ("two", "evolved points", "rubric/evolved_points_share"),
            ("three", "no proposal", "evolving/failed_share"),
        ),
        0.0,
        1.0,
    ),
    (
        "Verdicts",
        "Share of the criteria that are met, and the judge's mean probability.",
        (("one", "met", "judge/met_share"), ("two", "P(met)", "judge/p_met")),
        0.0,
        1.0,
    ),
    (
        "Not judged",
        "Rollouts without a reward, and criteria on which the judge abstained; neither counts as not met.",
        (("two", "rollouts", "judge/none_share"), ("one", "criteria", "judge/abstained")),
        0.0,
        0.1,
    ),
    (
        "Seconds with the judge",
        "For a batch of rollouts, and the part of it that the trainer waited.",
        (("one", "request to answer", "judge/latency_s"), ("two", "waited", "judge/waited_s")),
        0.0,
        None,
    ),
    (
        "Tokens of the judge",
        "For a batch of rollouts of one process: of the prompts, those of them that were computed before, and written.",
        (
            ("one", "prompts", "judge/usage/prompt_tokens"),
            ("two", "computed before", "judge/usage/cached_tokens"),
            ("three", "written", "judge/usage/completion_tokens"),
        ),
        0.0,
        None,
    ),
    ("Distance from the start", "KL divergence from the first policy.", (("one", "KL", "kl"),), 0.0, None),
    (
        "Updates that were cut",
        "Share of the updates whose gradient was clipped, and of the tokens whose KL is beyond the bound of 10.",
        (("one", "clipped", "grad_norm/clipped_share"), ("two", "tokens beyond the KL's bound", "kl/beyond_share")),
        0.0,
        1.0,
    ),
    (
        "Answers cut off",
        "Share of the answers that reached the greatest length before they ended.",
        (("two", "cut off", "completions/clipped_ratio"), ("three", "held-out rows", "eval_completions/clipped_ratio")),
        0.0,
        1.0,
    ),
    (
        "Length of answers",
        "Tokens, mean of a batch.",
        (("one", "tokens", "completions/mean_length"),),
        0.0,
        None,
    ),
    ("Entropy", "Entropy of the policy's next token, mean.", (("one", "entropy", "entropy"),), 0.0, None),
)


def write(folder: Path, health: Health | None = None) -> Path:
    """Writes the page and returns its path. Raises RunConfigError where the folder holds no run."""
    if not (folder / "data.json").exists():
        raise RunConfigError(f"{folder} holds no run: `rubricd train` did not write it")
    path = folder / "report.html"
    path.write_text(page(folder, health), encoding="utf-8")
    return path


def page(folder: Path, health: Health | None = None) -> str:
    """The whole page as HTML. `health` is that of the rewards, where judges were asked about them."""
    run, rollouts = run_config.read(folder / "run.yaml"), _Rollouts.of(folder)
    logs = _logs(folder / "metrics.jsonl", run.updates)
    judges = run_dir.judges(folder)
    named = ", then ".join(f"{one['model']} {one['fingerprint']}" for one in judges) or "no judge yet"
    alarms, *taught = _health(folder, run.updates, health) or [""]  # what to do comes first
    unchanged = not _has(logs, "rubric/dropped_share")
    charts_here = (chart for chart in _CHARTS if not (unchanged and chart[0] == _BY_WHOLE_RUBRIC))
    drawn = (_chart(logs, *chart) for chart in charts_here if any(_has(logs, one[2]) for one in chart[2]))
    return document(
        f"{folder.resolve().name}: {run.preset}",
        f"{Path(run.policy).name}, group {run.group}, {run.prompts_per_batch} prompts a batch; judged by {named}",
        tiles=_tiles(logs, rollouts),
        sections=(
            alarms,
            *drawn,
            *taught,
            _criteria(logs),
            rollouts.reasons(),
            rollouts.examples(),
            *_facts(folder),
        ),
    )


def _logs(path: Path, updates: int) -> _Logs:
    """The lines, with `step` in batches of rollouts, each of which has so many updates."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    logs = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be cut off
    return [{**log, "step": log["step"] / updates} for log in logs]


def points(logs: _Logs, metric: str) -> Points:
    """Step and value at each log of the metric's kind, training or evaluation; None where it has none."""
    kind = "eval_reward" if metric.startswith("eval_") else "reward"
    return [(log["step"], log.get(metric)) for log in logs if kind in log]


def _health(folder: Path, updates: int, health: Health | None) -> list[str]:
    """The sections about the rewards' health; none for a run without rollouts."""
    try:
        if health is None:
            watcher = Watcher(opened(folder), folder / "watch")
            health = watcher.look() if watcher.read() else None
        return [] if health is None else list(watch_page.sections(health, updates))
    except DataError as error:
        return [section("Reward health", f"It cannot be told: {error}.", "")]


def _has(logs: _Logs, metric: str) -> bool:
    return any(log.get(metric) is not None for log in logs)


def _tiles(logs: _Logs, rollouts: "_Rollouts") -> Iterable[str]:
    last = max((log["step"] for log in logs), default=0)
    yield tile(f"{last:g}", "batches of rollouts")
    for metric, name in (
        ("reward/bare", "reward, bare prompt, last tenth"),
        ("eval_reward", "held-out reward, last tenth"),
        ("judge/met_share", "criteria met, last tenth"),
        ("completions/clipped_ratio", "of the answers cut off, last tenth"),
    ):
        values = [value for _, value in points(logs, metric) if value is not None]
        if values:
            tail = values[-max(len(values) // 10, 1) :]
            yield tile(f"{sum(tail) / len(tail):.3f}", name)
    if rollouts.statuses:
        missing = rollouts.statuses.total() - rollouts.statuses["ok"]
        yield tile(f"{missing} of {rollouts.statuses.total()}", "rollouts not judged")


def _chart(
    logs: _Logs,
    heading: str,
    about: str,
    series: Sequence[tuple[str, str, str]],
    low: float | None,
    high: float | None,
) -> str:
    drawn = [one for one in series if _has(logs, one[2])]
    svg = charts.lines({colour: points(logs, metric) for colour, _, metric in drawn}, low=low, high=high)
    key = "".join(
        f'<span><i style="background:{COLOURS[colour]}"></i>{escape(name)}</span>' for colour, name, _ in drawn
    )
    return section(heading, about, f'<figure>{svg}<figcaption class="key">{key}</figcaption></figure>', wide=False)


def _criteria(logs: _Logs) -> str:
    """A table of each criterion's pass rate: at the start, at the end, and between."""
    names = sorted({name for log in logs for name in log if name.startswith(_CRITERION)})
    found = []
    for name in names:
        line = points(logs, name)
        values = [value for _, value in line if value is not None]
        fifth = max(len(values) // 5, 1)
        first, last = sum(values[:fifth]) / fifth, sum(values[-fifth:]) / fifth
        cells = [(name.removeprefix(_CRITERION), "name"), *((f"{one:.2f}", "n") for one in (first, last, last - first))]
        found.append((abs(last - first), row(cells, more=f"<td>{charts.spark(line)}</td>")))
    if not found:
        return ""
    head = "Criterion or tag", ("first fifth", "n"), ("last fifth", "n"), ("change", "n"), "over the run"
    rows = [line for _, line in sorted(found, key=lambda one: -one[0])]
    more = rows[_SHOWN_ROWS:]
    rest = folded(f"{len(more)} more", table(head, more)) if more else ""
    about = "Share of judged answers that meet it, whatever its points; the largest changes first."
    return section("Criteria", about, table(head, rows[:_SHOWN_ROWS]) + rest)


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
            row(((status, "name"), (str(count), "n"), (f"{count / self.statuses.total():.2%}", "n")))
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
        rows = [
            row(
                (
                    (f"{one['score']:.3f}", "n"),
                    (f"{one.get('revealed_share') or 0.0:.2f}", "n"),
                    (_last_text(one["prompt"]), "text"),
                    (_last_text(one["completion"]), "text"),
                )
            )
            for one in some
        ]
        head = ("score", "n"), ("revealed", "n"), "Prompt", "Answer"
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

"""Says how often a run's criteria are met over the run, and whether that gets better or worse.

Guarantees: a criterion whose sign is not known, or is not the same in all rubrics, is neither better nor worse.
"""

from collections.abc import Iterable, Mapping, Sequence

from trainer_client.pages import charts
from trainer_client.pages.document import folded, number, row, section, table
from trainer_client.rollouts import Rollout
from trainer_client.training.report.charts import Logs, points

_CRITERION = "criteria/"
_SHOWN_ROWS = 12
_NOTICED = 0.005
_WORDS = {1: "wanted", -1: "a fault"}


def signs(rollouts: Iterable[Rollout]) -> dict[str, int]:
    """1 for each id or `tag:value` whose criteria are all wanted, -1 where they are all faults, else 0."""
    found: dict[str, set[int]] = {}
    for rollout in rollouts:
        for one in rollout.criteria:
            if one.points:
                for name in (one.id, *(f"{key}:{value}" for key, value in one.tags.items())):
                    found.setdefault(name, set()).add(1 if one.points > 0 else -1)
    return {name: next(iter(own)) if len(own) == 1 else 0 for name, own in found.items()}


def criteria(logs: Logs, sign_of: Mapping[str, int]) -> str:
    """A table of each criterion's pass rate: at the start, at the end, and between."""
    names = sorted({name for log in logs for name in log if name.startswith(_CRITERION)})
    found = []
    for name in names:
        line = points(logs, name)
        values = [value for _, value in line if value is not None]
        if values:
            short = name.removeprefix(_CRITERION)
            found.append(_row(short, values, line, sign_of.get(short, 0)))
    if not found:
        return ""
    head = "Criterion or tag", "Sign", ("first fifth", "n"), ("last fifth", "n"), ("change", "n"), "over the run"
    rows = [line for _, line in sorted(found, key=lambda one: -one[0])]
    more = rows[_SHOWN_ROWS:]
    rest = folded(f"{len(more)} more", table(head, more)) if more else ""
    about = (
        "Share of judged answers that meet it; the largest changes first. Red gets worse: a fault that is met more "
        "often, or something wanted that is met less often."
    )
    return section("Criteria", about, table(head, rows[:_SHOWN_ROWS]) + rest)


def _row(name: str, values: Sequence[float], line: charts.Points, sign: int) -> tuple[float, str]:
    fifth = max(len(values) // 5, 1)
    first, last = sum(values[:fifth]) / fifth, sum(values[-fifth:]) / fifth
    change = last - first
    kind = "" if not sign or abs(change) < _NOTICED else " better" if change * sign > 0 else " worse"
    told = f"{'+' if change >= _NOTICED else ''}{number(change, 2)}"
    cells = [(name, "name"), (_WORDS.get(sign, ""), "worse" if sign < 0 else "")]
    cells += [(number(first, 2), "n"), (number(last, 2), "n"), (told, f"n{kind}")]
    return abs(change), row(cells, more=f"<td>{charts.spark(line, worse=sign < 0)}</td>")

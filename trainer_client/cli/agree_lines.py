"""Writes the figures of a measurement as lines of text: a row for each figure, a column for each judge.

Guarantees: a figure without a value is a dash.
"""

from collections.abc import Iterator, Mapping, Sequence

from trainer_client.agreement import names
from trainer_client.agreement.measured import Figures, Measured, MeasuredJudge
from trainer_client.agreement.shown import text
from trainer_client.agreement.spent import NAMES, rows

_WIDTH = 24


def lines(measured: Measured) -> Iterator[str]:
    labels = measured.labels
    count = labels["labelled"] + labels["graded"]
    yield (
        f"{count} labelled criteria of {labels['responses']} responses to {labels['groups']} prompts; "
        f"labels {labels['digest'][:16]}"
    )
    for one in measured.judges:
        doubt = f" ({one.judge['doubt']})" if one.judge["doubt"] else ""
        yield f"{one.name}: judge {one.judge['model']} {one.judge['fingerprint']}{doubt}; {_counts(one.statuses)}"
    columns = [(one.name, one.figures) for one in measured.judges]
    if measured.annotators:
        columns.append(("annotators", measured.annotators))
    yield from _table(names.CRITERIA, columns)
    if graded := [(one.name, one.levels.figures) for one in measured.judges if one.levels is not None]:
        yield from _table(names.LEVELS, graded)
        yield from _confusions(measured.judges)
    yield from _table(names.REWARDS, [(one.name, one.rewards) for one in measured.judges])
    spent = {one.name: one.spent for one in measured.judges if one.spent is not None}
    if spent:
        yield ""
        first = max(map(len, NAMES.values()))
        yield f"{'':{first}}  {'  '.join(f'{name:{_WIDTH}}' for name in spent)}".rstrip()
        for about, cells in rows(spent):
            shown = "  ".join(f"{cell or '-':{_WIDTH}}" for cell in cells)
            yield f"{about:{first}}  {shown}".rstrip()
    for pair in measured.comparisons:
        yield from _table(names.COMPARISON, [(f"{pair.one} and {pair.other}", pair.figures)])


def _confusions(judges: Sequence[MeasuredJudge]) -> Iterator[str]:
    """What was labelled stands in the rows, what was judged in the columns."""
    for one in judges:
        for table in one.levels.confusions if one.levels is not None else ():
            yield ""
            kind = "levels" if table.ordered else "choices"
            yield f"{one.name}: {len(table.counts)} {kind}, labelled (rows) and judged"
            width = max(len(str(count)) for row in table.counts for count in row)
            for place, row in enumerate(table.counts):
                yield f"  {place}  {'  '.join(f'{count:>{width}}' for count in row)}"


def _counts(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))


def _table(rows: Mapping[str, str], columns: Sequence[tuple[str, Figures]]) -> Iterator[str]:
    shown = [name for name in rows if any(name in figures for _, figures in columns)]
    first = max(map(len, (rows[name] for name in shown)), default=0)
    yield ""
    yield f"{'':{first}}  {'  '.join(f'{name:{_WIDTH}}' for name, _ in columns)}".rstrip()
    for name in shown:
        cells = "  ".join(f"{text(figures.get(name), width=6):{_WIDTH}}" for _, figures in columns)
        yield f"{rows[name]:{first}}  {cells}".rstrip()

"""Shows how much of a long run is done: a bar on a terminal, elsewhere a line for each tenth."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(
    total: int, quiet: bool, of: str = "criteria", more: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of those that are done now. `of` names what is counted. A line for a
    tenth, and the bar, end with what `more` says then; fewer than ten have no tenths."""
    if quiet:
        yield lambda done: None
        return
    if sys.stderr.isatty():
        from trainer_client.cli import table

        with table.progress(total, more) as moved:
            yield moved
        return
    done = 0

    def said(some: int) -> None:
        nonlocal done
        before, done = done, done + some
        if total >= 10 and done * 10 // total > before * 10 // total:
            print("; ".join(filter(None, (f"rubricd: {done:,} of {total:,} {of}", more()))), file=sys.stderr)

    yield said


def say_past_bars(line: str) -> None:
    """Prints on standard error at the beginning of a line, even where a library's bar stands open there."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(line, file=sys.stderr)
    else:
        bars.tqdm.write(line, file=sys.stderr)

"""Shows how much of a long run is done: a bar on a terminal, elsewhere a line for each tenth."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def criteria_progress(total: int, quiet: bool, what: str = "criteria") -> Iterator[Callable[[int], None]]:
    """Yields what is told how many more criteria, or what else is counted, are done."""
    with _progress(total, what, quiet, lambda: "") as told:
        yield told


@contextlib.contextmanager
def rows_progress(total: int, quiet: bool, more: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """Yields what is told how many more rows are done. A line for a tenth ends with what `more` says then."""
    with _progress(total, "rows", quiet, more) as told:
        yield told


@contextlib.contextmanager
def questions_progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yields what is told how many more questions to judges are answered."""
    with _progress(total, "questions", quiet, lambda: "") as told:
        yield told


@contextlib.contextmanager
def _progress(total: int, of: str, quiet: bool, more: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    if quiet:
        yield lambda done: None
        return
    done = 0
    if sys.stderr.isatty():
        from trainer_client.cli import table

        with table.count_progress(total) as show:

            def moved(some: int) -> None:
                nonlocal done
                done += some
                show(done)

            yield moved
        return

    def said(some: int) -> None:
        nonlocal done
        before, done = done, done + some
        if total and done * 10 // total > before * 10 // total:
            print("; ".join(filter(None, (f"rubricd: {done:,} of {total:,} {of}", more()))), file=sys.stderr)

    yield said


def say_past_bars(line: str) -> None:
    """Prints on standard error at the beginning of a line, even where a library's bar stands open there."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(line, file=sys.stderr)
    else:
        bars.tqdm.write(line, file=sys.stderr)

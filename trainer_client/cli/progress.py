"""Shows how many criteria of a long run are done: a bar on a terminal, elsewhere a line for each tenth."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def criteria_progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yields what is told how many more are done."""
    if quiet:
        yield lambda criteria: None
        return
    done = 0
    if sys.stderr.isatty():
        from trainer_client.cli import table

        with table.count_progress(total) as show:

            def moved(criteria: int) -> None:
                nonlocal done
                done += criteria
                show(done)

            yield moved
        return

    def said(criteria: int) -> None:
        nonlocal done
        before, done = done, done + criteria
        if done * 10 // total > before * 10 // total:
            print(f"rubricd: {done:,} of {total:,} criteria", file=sys.stderr)

    yield said

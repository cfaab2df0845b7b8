"""Gives the commands what they draw with: rich where it is installed, and plain text where it is not."""

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Table
    from rich.text import Text
else:
    # Hidden from type checkers: the plain ones have what the commands use, and not all of rich.
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        from trainer_client.cli.plain import (
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
        )

__all__ = [
    "BarColumn",
    "Console",
    "MofNCompleteColumn",
    "Progress",
    "ProgressColumn",
    "Table",
    "Task",
    "Text",
    "TextColumn",
    "TimeRemainingColumn",
    "console_for_tables",
]
_LEAST_WIDTH = 72
"""In a narrower window the lines of a table go on in the next row, and no column is a letter wide."""


def console_for_tables() -> Console:
    """Standard output, at least so wide that the columns of a table can be read."""
    return Console(width=max(shutil.get_terminal_size().columns, _LEAST_WIDTH))

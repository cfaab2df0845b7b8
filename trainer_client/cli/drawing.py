"""Gives the commands what they draw with: rich where it is installed, and plain text where it is not."""

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
]

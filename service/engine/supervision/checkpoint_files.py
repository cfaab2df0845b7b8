"""Remembers the files of a judge's folder, so that a restart does not change the judge.

Guarantees: a folder whose files name another judge than at the first start is refused.
"""

from collections.abc import Mapping
from pathlib import Path

from service.engine.identity import checkpoint_facts
from service.errors import ConfigurationError


class CheckpointFiles:
    """The files of a judge's folder, as they were when the judge was named by `facts`."""

    def __init__(self, folder: Path, facts: Mapping[str, str]) -> None:
        self._folder = folder
        self._facts = facts
        self._stats = _file_stats(folder)

    def check_unchanged(self) -> None:
        """Raises ConfigurationError where the folder holds another judge than the one that was named at the start."""
        # Hashing all weights takes minutes for a large judge, so it is done only where a file was written.
        if (stats := _file_stats(self._folder)) != self._stats:
            if any(self._facts[name] != value for name, value in checkpoint_facts(self._folder).items()):
                raise ConfigurationError("the judge's files have changed since the start: restart the service")
            self._stats = stats


def _file_stats(folder: Path) -> set[tuple[str, int, int]]:
    """Name, size and modification time of each file."""
    found = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return {(name, stat.st_size, stat.st_mtime_ns) for name, stat in found}

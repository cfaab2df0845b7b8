"""Reads logged rollouts of any kind: a run's folder, that of a rescoring or an evaluation, a results file of `rubricd
score`, or files of lines of JSON.

Guarantees: rollouts come in the order of the log, a run's in the order of its steps, and are read as the caller takes
them. A path without rollouts is an error that says what was expected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_client.errors import DataError
from trainer_client.rollouts import lines, run_tables
from trainer_client.rollouts.logged import Rollout
from trainer_client.rollouts.run_tables import Kind, Say
from trainer_client.rollouts.writing import RESPONSES

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def _silent(said: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Log:
    """What a path means: the tables of a run's folder, one file, a folder with a file of all rollouts, or a folder of
    files of lines, one for a step."""

    path: Path
    kind: Kind = "completions"

    def rollouts(self, say: Say = _silent) -> Iterator[Rollout]:
        """All rollouts. Raises DataError, also where there is none."""
        found = False
        for one in self.rollouts_after(None, say):
            found = True
            yield one
        if not found:
            raise DataError(f"{self.path}: no rollouts yet")

    def rollouts_after(self, last: Rollout | None, say: Say = _silent) -> Iterator[Rollout]:
        """The rollouts after this one, which may be none: for a log that grows. Raises DataError."""
        folder = self._folder
        files = [] if folder is None else _line_files(folder)
        if files:
            yield from _of_files(files, last, say)
        elif folder is not None:
            after = -1 if last is None or last.step is None else last.step
            yield from run_tables.rollouts(run_tables.tables(folder, self.kind), say, after)
        elif self.path.suffix == ".parquet":
            yield from () if last is not None else run_tables.rollouts([self.path], say)
        else:
            yield from _of_files([self.path], last, say)

    @property
    def _folder(self) -> Path | None:
        """The folder of the tables, where the path is a run."""
        if not self.path.is_dir():
            return None
        below = self.path / "completions"
        return below if below.is_dir() else self.path


def _line_files(folder: Path) -> list[Path]:
    """The one file of all rollouts of a folder, or those of its steps."""
    whole = folder / RESPONSES
    return [whole] if whole.is_file() else lines.files(folder)


def _of_files(files: list[Path], last: Rollout | None, say: Say) -> Iterator[Rollout]:
    """The rollouts of files of lines that come after this one."""
    name, _, number = ("", "", "0") if last is None else last.place.rpartition(", line ")
    names = [str(file) for file in files]
    if last is not None and name not in names:
        raise DataError(f"{name}: the file that was read last is gone")
    first = 0 if last is None else names.index(name)
    for place, file in enumerate(files[first:]):
        yield from lines.rollouts(file, say, int(number) if place == 0 else 0)


def opened(path: Path, kind: Kind = "completions") -> Log:
    """The log at a path. Raises DataError where it is none."""
    if path.is_dir():
        logged = (path / "completions").is_dir() or run_tables.tables(path, kind) or _line_files(path)
        if not logged and not _is_run(path):
            raise DataError(
                f"{path}: neither a run's folder, which has tables of rollouts in `completions`, nor a folder of them, "
                f"nor one of lines of JSON for each step (3.jsonl), nor one with {RESPONSES}, as a rescoring or an "
                "evaluation leaves it"
            )
    elif not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    elif path.suffix != ".parquet" and not path.name.endswith(_LINES):
        raise DataError(
            f"{path}: cannot tell what it holds; give a run's folder, a table (.parquet), or lines of JSON "
            f"({', '.join(_LINES[:2])}, also with .gz), such as the results file of `rubricd score`"
        )
    return Log(path, kind)


def read(path: Path, kind: Kind = "completions", say: Say = _silent) -> list[Rollout]:
    """All rollouts at a path. Raises DataError."""
    return list(opened(path, kind).rollouts(say))


def _is_run(path: Path) -> bool:
    return (path / "data.json").is_file()

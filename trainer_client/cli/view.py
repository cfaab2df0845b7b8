"""Runs `rubricd view RESULTS`: it writes one HTML file in which scored responses are read, searched and compared.

Guarantees: no judge is asked, and no file is written but those that are named.
"""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import sentence_of
from trainer_client.data import notes
from trainer_client.errors import DataError
from trainer_client.rollouts import read
from trainer_client.rollouts.run_tables import Kind
from trainer_client.viewer import export
from trainer_client.viewer.columns import Source
from trainer_client.viewer.page import write

DESCRIPTION = (
    "Write one HTML file that shows scored responses with their evidence: it opens from disk, needs no network, and "
    "compares two files. Exit code: 0 done, 2 wrong use."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    about = "results files of `rubricd score`, the folder of a run, a rescoring or an evaluation, or lines of rollouts"
    add("results", type=Path, nargs="+", metavar="RESULTS", help=f"{about}; of several, the first two are compared")
    add("--held-out", action="store_true", help="of a run, the held-out rollouts instead of the training's")
    add("--out", type=new_file, metavar="FILE", help="the page (beside the first RESULTS: its name + .html)")
    add("--csv", type=new_file, metavar="FILE", help="write the responses as CSV, too, and the verdicts beside them")
    add(
        "--parquet",
        type=new_file,
        metavar="FILE",
        help="write the responses as parquet, too, and the verdicts beside them",
    )
    add("--open", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 2 for misuse, 130 for an interrupt."""
    try:
        sources = _sources(args.results, "held_out" if args.held_out else "completions")
        out = args.out or _beside(args.results[0])
        write(sources, out)
        print(f"rubricd: page {out}")
        for path, wrote in ((args.csv, export.write_csv), (args.parquet, export.write_parquet)):
            if path is not None:
                wrote(sources, path)
                print(f"rubricd: responses {path}, verdicts {export.beside(path)}")
    except KeyboardInterrupt:
        return 130
    except (DataError, OSError) as error:
        print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
        return 2
    if args.open and not webbrowser.open(out.resolve().as_uri()):
        print(f"rubricd: no browser was found; open {out} yourself", file=sys.stderr)
    return 0


def _sources(paths: Sequence[Path], kind: Kind) -> list[Source]:
    say = notes.once()
    return [Source(name, read(path, kind, say)) for path, name in zip(paths, _names(paths), strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; of the same path twice, numbered."""
    whole = [path.resolve().parts for path in paths]
    longest = max(map(len, whole))
    for depth in range(1, longest + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({place})" for place, path in enumerate(paths, 1)]


def _beside(path: Path) -> Path:
    if path.is_dir():
        return path / "view.html"
    name = path.name.removesuffix(".gz")
    for ending in (".jsonl", ".ndjson", ".parquet"):
        name = name.removesuffix(ending)
    return path.with_name(f"{name}.html")

"""`python -m labelled`: writes the labelled set or its instructions again, or has a model answer its questions."""

import argparse
import gzip
import json
from pathlib import Path

from labelled.build import ANSWERS, SPLITS, Split, rows
from labelled.instructions import rows as instruction_rows

FOLDER = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m labelled", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    build = commands.add_parser("build", help="write the files of the set, of which each has rules or topics unseen")
    build.add_argument("--out", type=Path, default=FOLDER, help="folder (%(default)s)")
    build.set_defaults(run=_build)
    asking = commands.add_parser("instructions", help="write prompts with instructions that rules decide")
    asking.add_argument("--out", type=Path, default=FOLDER / "instructions.jsonl", help="file (%(default)s)")
    asking.set_defaults(run=_instructions)
    answers = commands.add_parser("answers", help="have a model answer the questions: needs torch and transformers")
    answers.add_argument("--model", type=Path, required=True, help="folder of a chat model")
    answers.add_argument("--out", type=Path, default=ANSWERS, help="file (%(default)s)")
    answers.set_defaults(run=_answers)
    options = parser.parse_args(arguments)
    options.run(options)
    return 0


def _build(options: argparse.Namespace) -> None:
    for split in SPLITS:
        path = options.out / f"{split.name}.jsonl.gz"
        path.write_bytes(packed(split))
        print(path)


def _instructions(options: argparse.Namespace) -> None:
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in instruction_rows())
    options.out.write_text(text, encoding="utf-8")
    print(options.out)


def packed(split: Split) -> bytes:
    """The split's rows as JSON lines, packed in the same way every time."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows(split))
    return gzip.compress(text.encode(), mtime=0)


def _answers(options: argparse.Namespace) -> None:
    from labelled.generate import write_answers

    print(f"{write_answers(options.model, options.out)} answers in {options.out}")


if __name__ == "__main__":
    raise SystemExit(main())

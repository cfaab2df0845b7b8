"""Has the service render labelled items as prompts, in a process of its own, and reads the token ids that it writes.

The client imports nothing of the service, and a prompt that was rendered in two places would come apart. So whoever
serves renders: `python -m service render`, from the checkout or the image that will serve the judge.

Guarantees: there are as many prompts as criteria, or an error. What the command says when it fails is in the error.
"""

import json
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.errors import DataError

_READ = {"prompt", "response", "rubric", "reference", "documents"}


@dataclass(frozen=True, slots=True)
class RenderedItem:
    """`shared` are the ids that the criteria have in common, `own` each criterion's, None where a rule decides it."""

    shared: tuple[int, ...]
    own: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The prompts of items, with the judge's two labels: first the one that means met. `prompt` is the text's name, and
    `digest` one of every byte of it."""

    layout: str
    prompt: str
    digest: str
    labels: tuple[str, str]
    label_ids: tuple[int, int]
    items: tuple[RenderedItem, ...]


def render(items: Sequence[wire.Item], command: Sequence[str]) -> Rendered:
    """The prompts of these items, each with one response and a rubric. Raises DataError."""
    lines = "".join(f"{one.model_dump_json(exclude_none=True, include=_READ)}\n" for one in items)
    name = shlex.join(command)
    try:
        done = subprocess.run(command, input=lines, capture_output=True, text=True, encoding="utf-8")
    except OSError as error:
        raise DataError(f"the prompts could not be rendered: `{name}`: {error}; set --render") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise DataError(f"the prompts could not be rendered: `{name}` ended with: {said[-1] if said else 'no word'}")
    return _read(done.stdout.splitlines(), items, name)


def _read(lines: Sequence[str], items: Sequence[wire.Item], name: str) -> Rendered:
    try:
        about, *rows = [json.loads(line) for line in lines]
        met, unmet = about["label_ids"]
        found = tuple(
            RenderedItem(tuple(row["shared"]), tuple(None if own is None else tuple(own) for own in row["own"]))
            for row in rows
        )
        labels = (str(about["labels"][0]), str(about["labels"][1]))
        rendered = Rendered(
            str(about["layout"]), str(about["prompt"]), str(about["digest"]), labels, (int(met), int(unmet)), found
        )
    except (ValueError, LookupError, TypeError):
        raise DataError(f"`{name}` wrote something else than prompts; set --render to the service's command") from None
    wanted = [len(one.rubric.criteria) if one.rubric else 0 for one in items]
    if [len(one.own) for one in found] != wanted:
        raise DataError(f"`{name}` wrote prompts for other criteria than it was asked for")
    return rendered

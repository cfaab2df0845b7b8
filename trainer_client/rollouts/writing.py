"""Writes rollouts as lines of JSON in a folder, from where every command that reads rollouts reads them.

Guarantees: `lines.py` reads a rollout back as it was, but for its place and for the verdicts of other judges. The file
is whole, or as it was before.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer_client.rollouts.logged import LoggedVerdict, Rollout

RESPONSES = "responses.jsonl.gz"
"""The file of a folder that is no run and holds rollouts, such as that of `rubricd evaluate`."""
_FAST = 3
_VERDICT = (
    *("id", "text", "points", "status", "met", "p", "p_raw", "source", "explanation", "fingerprint", "detail"),
    *("level", "p_levels", "p_levels_raw", "value", "extracted"),
)
_ROLLOUT = ("step", "id", "prompt", "response", "reference", "score", "reward", "advantage", "judge", "attempts")


def write(folder: Path, rollouts: Iterable[Rollout]) -> Path:
    """Writes the file of the folder and returns its path."""
    path = folder / RESPONSES
    partial = path.with_name(f"{path.name}.partial")
    with gzip.open(partial, "wb", compresslevel=_FAST) as file:
        file.writelines(f"{json.dumps(line_of(one))}\n".encode() for one in rollouts)
    partial.replace(path)
    return path


def forget(folder: Path) -> None:
    """Takes away the file of an earlier command into this folder, whose rollouts are not those of this one."""
    (folder / RESPONSES).unlink(missing_ok=True)


def line_of(one: Rollout) -> dict[str, Any]:
    """A rollout as an object of JSON's types, without what is not there."""
    whole = {
        **{name: getattr(one, name) for name in _ROLLOUT},
        "group": one.group if one.step is None else one.group.removeprefix(f"{one.step}/"),
        "rubric": None if one.rubric is None else one.rubric.model_dump(mode="json", by_alias=True, exclude_none=True),
        "criteria": list(map(_verdict, one.criteria)) or None,
        "status": one.status,
        "shown": one.shown,
        "documents": one.documents or None,
        "coverage": one.coverage,
        "score_bounds": one.bounds,
        "error": None if one.detail is None else {"code": one.status, "message": one.detail},
    }
    return _without_none(whole)


def _verdict(one: LoggedVerdict) -> dict[str, Any]:
    more = {"tags": dict(one.tags) or None, "members": list(one.members) or None}
    return _without_none({**{name: getattr(one, name) for name in _VERDICT}, **more})


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}

"""Keeps evolving rubrics in a folder that many processes see, of which each judges single answers of a group.

    <row's hash>/answers-<step>/<member>.json     what was judged of a group
    <row's hash>/rubric-<step>.json               what has evolved of the row's rubric after that step

Guarantees: a step reads what earlier steps wrote, so that the members of a group, and a run that repeats the step, have
the same rubric. One process settles a group, once all of its members are there. Files are written whole or not at all.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from trainer_client.live_rubrics.evolution import RowRubric


@dataclass(frozen=True, slots=True)
class Heard:
    """One member's answer, and which of the evolved criteria it meets; a verdict that is missing is not among them."""

    answer: str
    met: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class SharedRubrics:
    """The rubrics in a folder."""

    folder: str

    def before(self, row: str, step: int) -> RowRubric:
        """What has evolved of a row's rubric before this step."""
        written = {int(path.stem.rpartition("-")[2]): path for path in self._of(row).glob("rubric-*.json")}
        earlier = [one for one in written if one < step]
        return RowRubric.of_json(json.loads(written[max(earlier)].read_text())) if earlier else RowRubric()

    def hear(self, row: str, step: int, member: int, group: int, heard: Heard) -> list[Heard] | None:
        """Takes one member's answer. Returns the whole group to the process that is to settle it, in the order of the
        members, and None to all others."""
        place = self._of(row) / f"answers-{step}"
        place.mkdir(parents=True, exist_ok=True)
        _write(place / f"{member}.json", asdict(heard))
        there = [place / f"{one}.json" for one in range(group)]
        if not all(path.exists() for path in there):
            return None
        try:
            os.close(os.open(place / "settled", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return None
        return [Heard(**json.loads(path.read_text())) for path in there]

    def keep(self, row: str, step: int, rubric: RowRubric, changes: list[dict[str, Any]]) -> None:
        """Writes what has evolved after this step, and what happened to each criterion."""
        _write(self._of(row) / f"rubric-{step}.json", {**rubric.as_json(), "row": row, "changes": changes})

    def _of(self, row: str) -> Path:
        return Path(self.folder) / sha256(row.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _write(path: Path, what: Mapping[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(what), encoding="utf-8")
    partial.replace(path)

"""Writes the tables of docs/guide/training.md and presets.md from the run config's fields and the presets.

`python -m tools.training_tables` writes the pages.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trainer_client.training.presets import PRESETS, settings
from trainer_client.training.run.config import RunConfig
from trainer_client.training.run.sections import (
    EvolvingSection,
    JudgingSection,
    LoraSection,
    ProposerSection,
    RewardsSection,
    RubricDropoutSection,
    ScaffoldSection,
    WordingSection,
)

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide"
FIELDS = "| field | default | meaning |\n|---|---|---|\n"
NUMBERS = (
    "| preset | description | revealed | judging | rubric, reference | group x prompts, updates | length |\n"
    "|---|---|---|---|---|---|---|\n"
)
TRL = "| TRL setting | RuscaRL's presets | RaR's presets |\n|---|---|---|\n"
_PARTS: dict[str, type[BaseModel]] = {
    "judging": JudgingSection,
    "scaffold": ScaffoldSection,
    "scaffold.wording": WordingSection,
    "rewards": RewardsSection,
    "rubric_dropout": RubricDropoutSection,
    "evolving": EvolvingSection,
    "evolving.proposer": ProposerSection,
    "lora": LoraSection,
}
_BY_PRESET = {
    f"{name}.{inner}" if isinstance(value, dict) and name != "trl" else name
    for preset in PRESETS
    for name, value in settings(preset, "").items()
    for inner in (value if isinstance(value, dict) else [""])
}


def fields() -> str:
    return FIELDS + "".join(
        f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in _fields(RunConfig, "")
    )


def _fields(model: type[BaseModel], before: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        place = f"{before}{name}"
        part = _PARTS.get(place)
        default = "" if field.default is PydanticUndefined else f"`{json.dumps(field.default, default=lambda _: 0)}`"
        if isinstance(field.default, BaseModel):
            default = ""
        yield place, "preset" if place in _BY_PRESET else default, field.description or ""
        if part is not None:
            yield from _fields(part, f"{place}.")


def presets() -> str:
    rows = []
    for name, preset in PRESETS.items():
        found = settings(name, "")
        scaffold, updates = found["scaffold"], found["prompts_per_batch"] // found["mini_batch"]
        recipe = f"{found['group']} x {found['prompts_per_batch']}, {updates}"
        parts = [scaffold["over"], scaffold.get("within"), found["ratio"]]
        revealed = "nothing" if scaffold["over"] == "none" else ", ".join(parts)
        judging = " ".join(f"`{value}`" for value in found["judging"].values())
        length = f"{found['epochs']} epochs" if "epochs" in found else f"{found['steps']} batches"
        rows.append(
            f"| `{name}` | {preset.about} | {revealed} | {judging} | {found['rubric']}, {found['reference']} "
            f"| {recipe} | {length} |\n"
        )
    return NUMBERS + "".join(rows)


def trl() -> str:
    ruscarl, rar = {"warmup_steps": "none"} | settings("ruscarl", "")["trl"], settings("rar-explicit", "")["trl"]
    names = sorted({*ruscarl, *rar})
    return TRL + "".join(f"| `{name}` | {_cell(ruscarl, name)} | {_cell(rar, name)} |\n" for name in names)


def _cell(found: dict[str, Any], name: str) -> str:
    return f"{found[name]:g}" if isinstance(found.get(name), int | float) else str(found.get(name, "not stated"))


TABLES = {FIELDS: ("training.md", fields), NUMBERS: ("presets.md", presets), TRL: ("presets.md", trl)}
"""By their heads: the page, and what makes the table."""


if __name__ == "__main__":
    for head, (name, table) in TABLES.items():
        text = (GUIDE / name).read_text(encoding="utf-8")
        text = re.sub(re.escape(head) + r"(\|.*\n)*", lambda _, table=table: table(), text, count=1)  # type: ignore[misc]
        (GUIDE / name).write_text(text, encoding="utf-8")

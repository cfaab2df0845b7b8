"""Writes the tables of settings in docs/operate/operations.md from the settings themselves: `make settings`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service import settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operate" / "operations.md"
HEAD = "| setting | default | meaning |\n|---|---|---|\n"
FLOORS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Judge and engine", settings.EngineSettings),
    ("Judging modes", settings.ModeSettings),
    ("Several judges", settings.DeploymentSettings),
    ("Scheduling", settings.SchedulingSettings),
    ("Cache and Redis", settings.CacheSettings),
    ("Rule verifiers", settings.RuleSettings),
    ("Teams", settings.TenancySettings),
    ("API", settings.ApiSettings),
    ("Observability", settings.ObservabilitySettings),
    ("Ledger of verdicts", settings.LedgerSettings),
    ("Server", settings.ServerSettings),
)


def tables() -> str:
    """A heading and a table for each floor. What two floors have in common is in the first one's table."""
    return "\n".join(f"### {heading}\n\n{HEAD}{''.join(rows)}" for heading, rows in _rows())


def _rows() -> Iterator[tuple[str, list[str]]]:
    written: set[str] = set()
    for heading, floor in FLOORS:
        own = sorted(floor.model_fields.items(), key=lambda field: field[0] not in floor.__annotations__)
        yield heading, [_row(name, field) for name, field in own if name not in written]
        written |= floor.model_fields.keys()
    if missing := settings.Settings.model_fields.keys() - written:
        raise SystemExit(f"no floor's table has {', '.join(sorted(missing))}")


def _row(name: str, field: FieldInfo) -> str:
    default = "" if field.default is None else f"`{json.dumps(field.default)}`"
    return f"| `{name}` | {default} | {field.description} |\n"


def written(page: str) -> str:
    """The page with the tables as they should be."""
    return re.sub(r"### Judge and engine\n.*?(?=\n## )", lambda _: tables(), page, count=1, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""The shipped rules, as tests read them."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from testkit.processes import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RECORDING, ALERTS = FOLDER / "recording.yml", FOLDER / "alerts.yml"


def loaded(file: Path) -> Any:
    return YAML(typ="safe", pure=True).load(file)


def rules(file: Path) -> list[dict[str, Any]]:
    """In order."""
    return [rule for group in loaded(file)["groups"] for rule in group["rules"]]


def names(file: Path, kind: str) -> list[str]:
    """`kind` is alert or record."""
    return [rule[kind] for rule in rules(file)]

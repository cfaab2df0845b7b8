"""Teams files for tests, with keys that are known."""

import hashlib
import json
from pathlib import Path
from typing import Any


def key(name: str) -> str:
    """A key as the command makes them, the same each time."""
    return "rbd_" + hashlib.sha256(name.encode()).hexdigest()[:43]


def team(name: str, *, keys: tuple[str, ...] | None = None, **facts: Any) -> dict[str, Any]:
    hashes = [hashlib.sha256(one.encode()).hexdigest() for one in (keys if keys is not None else (key(name),))]
    return {"name": name, "keys": [{"sha256": one, "created": "2026-11-21"} for one in hashes], **facts}


def write(file: Path, *teams: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"teams": teams}))
    return file


def auth(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key(name)}"}

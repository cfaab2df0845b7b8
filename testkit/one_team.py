"""A service of one team, asked from outside as a training job and a supervisor ask it."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import httpx

from testkit.sandbox import USER, Sandboxed
from testkit.waiting import HUNG_S, START_S

KEYS = tuple("rbd_" + letter * 43 for letter in "ab")
ITEM = {
    "prompt": "I have a stiff neck. What should I do?",
    "response": "For a stiff neck: 1. Drink ginger tea. 2. Ask for a massage.",
    "rubric": [
        {"text": "Tells the user to drink ginger tea.", "points": 7},
        {"text": "Names ginger.", "points": 1, "verifier": {"rule": "regex", "pattern": "ginger"}},
    ],
}


def rotate(folder: Path, key: str) -> None:
    """As the kubelet updates a mounted Secret: a new folder, then a link renamed onto the old one."""
    new = folder / f"..{time.monotonic_ns()}"
    new.mkdir()
    known = {"sha256": hashlib.sha256(key.encode()).hexdigest(), "created": date(2026, 1, 2).isoformat()}
    (new / "teams.yaml").write_text(json.dumps({"teams": [{"name": "medicine", "keys": [known]}]}))
    new.chmod(0o755)
    (new / "teams.yaml").chmod(0o440)
    if os.geteuid() == 0:
        os.chown(new / "teams.yaml", 0, USER)
    before = folder / "..data"
    old = before.resolve() if before.is_symlink() else None
    (folder / "..data_tmp").symlink_to(new.name)
    os.replace(folder / "..data_tmp", before)
    if old is None:
        (folder / "teams.yaml").symlink_to("..data/teams.yaml")
    else:
        shutil.rmtree(old)


def until(condition: Callable[[], bool], running: Sandboxed) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert running.process.poll() is None, "".join(running.lines)
        assert time.monotonic() < end, "".join(running.lines)
        time.sleep(0.2)


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=HUNG_S).status_code == 200
    except httpx.TransportError:
        return False


def ask(port: int, key: str) -> httpx.Response:
    sent = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"http://127.0.0.1:{port}/v1/score", json={"items": [ITEM]}, headers=sent, timeout=HUNG_S)


def judged(answer: httpx.Response) -> list[tuple[str, bool | None, str]]:
    """Status, verdict and source of each criterion."""
    assert answer.status_code == 200, answer.text
    return [(one["status"], one["met"], one["source"]) for one in answer.json()["results"][0]["criteria"]]

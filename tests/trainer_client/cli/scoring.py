"""Runs `rubricd score` against a scripted judge, and reads what it wrote."""

import json
from pathlib import Path
from typing import Any

from testkit.scripted_judge import Service, served
from trainer_client.cli.main import main

Json = dict[str, Any]


def results_in(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored_by(file: Path, service: Service, *options: str) -> int:
    with served(service) as url:
        return main(["score", str(file), "--url", url, *options])

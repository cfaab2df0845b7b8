"""Runs `rubricd evaluate` against a scripted judge and a scripted policy, and reads what it wrote."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from testkit.chat_server import Asked, chat_server
from testkit.scripted_judge import FINGERPRINT, Service, served
from trainer_client.cli.main import main

Json = dict[str, Any]


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def service_of(**more: Any) -> Service:
    """A judge that offers the layout of simple-evals, too."""
    service = Service(**more)
    names = {"model": "fake", "revision": "r", "engine": "fake", "fingerprint": FINGERPRINT, "mode": "verdict"}
    service.info = {
        "layouts": ["rubricd", "simple_evals"],
        "judges": [{**names, "layout": layout} for layout in ("rubricd", "simple_evals")],
    }
    return service


def evaluated(kind: str, file: Path, *options: str, service: Service | None = None) -> int:
    with served(service or service_of()) as url:
        judge = () if kind == "diversity" else ("--url", url)
        return main(["evaluate", kind, str(file), *judge, "--quiet", *options])


def asked(
    kind: str,
    file: Path,
    answer: Callable[[Asked], str | Sequence[str]],
    *options: str,
    service: Service | None = None,
) -> tuple[int, list[Asked]]:
    """As `evaluated`, with a policy at an endpoint, and what that was asked."""
    with chat_server(answer) as server:
        code = evaluated(kind, file, "--model-url", server.url, "--model", "pol", *options, service=service)
        return code, server.asked


def results(file: Path, kind: str) -> Json:
    found: Json = json.loads((file.with_name(f"{file.name.partition('.')[0]}.{kind}") / "results.json").read_text())
    return found


def spoken(asked: Asked) -> list[str]:
    """A policy whose answers say what was asked, with which seed, and their number."""
    return [f"{asked.last} {asked.body['seed']} {n}" for n in range(asked.n)]

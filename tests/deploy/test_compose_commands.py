"""The commands of compose.yaml run with the real programs: they start, read the files that are mounted, and are ready.

Debian's Prometheus and Alertmanager are not the images' versions. What these commands name has been the same since.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.dockerfile import ROOT, documents
from testkit.free_port import free_port
from testkit.processes import hosted
from testkit.prometheus import program
from testkit.waiting import HUNG_S, wait_until
from tests.deploy.rules import ALERTS, names
from tools import check_compose

DEPLOY = ROOT / "deploy"
PROGRAMS: Mapping[str, Path] = {
    "prometheus": Path(program("prometheus")),
    "alertmanager": ROOT / ".venv" / "alertmanager" / "usr" / "bin" / "prometheus-alertmanager",
}
LOADED = "Completed loading of configuration file"


def command(name: str, scratch: Path) -> list[str]:
    """The service's words, with each mounted path as it is outside of the container."""
    [compose] = documents((DEPLOY / "compose.yaml").read_text())
    service: dict[str, Any] = compose["services"][name]
    places = dict(volume.split(":")[1::-1] for volume in service["volumes"])
    words = list(service["command"])
    for inside, outside in places.items():
        here = str(DEPLOY / outside) if outside.startswith("./") else str(scratch / outside)
        words = [word.replace(f"={inside}", f"={here}") for word in words]
    return [str(PROGRAMS[name]), *words]


def test_prometheus_starts_with_all_rules(tmp_path: Path) -> None:
    port = free_port()
    words = [*command("prometheus", tmp_path), f"--web.listen-address=127.0.0.1:{port}"]
    with hosted(words, log=tmp_path / "log", port=port, ready="/-/ready", env={}) as host:
        groups = httpx.get(f"{host.url}/api/v1/rules", timeout=HUNG_S).json()["data"]["groups"]
    alerting = {rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    assert alerting == set(names(ALERTS, "alert"))


def test_alertmanager_knows_the_flags_and_loads_its_file(tmp_path: Path) -> None:
    """Not more: Debian's program then looks for a template where its package would be installed."""
    words = [*command("alertmanager", tmp_path), f"--web.listen-address=127.0.0.1:{free_port()}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or LOADED in (tmp_path / "log").read_text())
        finally:
            process.kill()
            process.wait()
    assert LOADED in (tmp_path / "log").read_text()


def test_a_flag_that_there_is_not_is_seen(tmp_path: Path) -> None:
    words = [*command("alertmanager", tmp_path), "--cluster.listen="]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode != 0 and "unknown long flag '--cluster.listen'" in done.stderr


def test_without_an_engine_it_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert check_compose.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "there is no `docker`; `make check-compose ARGS=--stand-ins` needs no Docker" in said.err


def test_no_second_engine_is_started_beside_one_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would write the same rules in iptables."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(check_compose, "with_stand_ins", lambda *_: pytest.fail("it was started"))
    assert check_compose.main(["--stand-ins"]) == 2
    assert "a Docker engine runs here" in capsys.readouterr().err

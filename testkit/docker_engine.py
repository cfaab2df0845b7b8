"""Runs a Docker engine of its own, for a machine that has none.

Guarantees: its images, containers and volumes are in the given folder, and it does not listen on the network. Starting
one needs root, and it leaves its empty chains in iptables.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testkit.dockerfile import ROOT

UNPACKED = ROOT / ".venv" / "docker"
"""Where make unpacked Debian's packages of it."""
_READY_S = 60.0


@contextmanager
def docker_engine(folder: Path, programs: Path = UNPACKED) -> Iterator[dict[str, str]]:
    """Yields the environment in which `docker` and `docker compose` talk to it. Raises RuntimeError where it does not
    start, with the end of its log."""
    for name in ("containerd", "config"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "config" / "cli-plugins").unlink(missing_ok=True)
    (folder / "config" / "cli-plugins").symlink_to(programs / "usr/libexec/docker/cli-plugins")
    found = [str(programs / place) for place in ("usr/bin", "usr/sbin")]
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([*found, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    environment["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    environment["DOCKER_CONFIG"] = str(folder / "config")
    daemon = shutil.which("dockerd", path=environment["PATH"])
    if daemon is None:
        raise RuntimeError("there is no dockerd: make .venv/docker")
    places = [f"--data-root={folder}/data", f"--exec-root={folder}/run", f"--pidfile={folder}/pid"]
    # Layers as plain folders, which every file system can hold, and no bridge but those of compose.
    words = [daemon, *places, f"--host={environment['DOCKER_HOST']}", "--storage-driver=vfs", "--bridge=none"]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        _until_ready(process, environment, log)
        yield environment
    finally:
        process.terminate()  # it ends its containers, and containerd
        process.wait(timeout=_READY_S)


def _until_ready(process: "subprocess.Popen[bytes]", environment: dict[str, str], log: Path) -> None:
    end = time.monotonic() + _READY_S
    while subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("dockerd did not start:\n" + "\n".join(log.read_text().splitlines()[-10:]))
        time.sleep(0.5)

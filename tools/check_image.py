"""`make check-image`: the CPU target of the Dockerfile is built by buildah, and a request is judged in its container.

A Debian that debootstrap makes stands for the base image, so this needs root, a Debian mirror and a package index, and
no registry. buildah works with `--isolation chroot`, which every machine has: podman and crun refuse machines with
hybrid cgroups. pip has the settings of this machine (pip.conf, PIP_*, certificates) in there too.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from testkit import dockerfile
from testkit.free_port import free_port
from testkit.one_team import KEYS, ask, judged, ready, rotate, until
from testkit.sandbox import USER, Sandboxed

TARGET = "cpu"
BASE = "localhost/debian-python"
IMAGE = "localhost/rubricd:cpu"
INCLUDED = "python3,python3-pip,python3-venv,ca-certificates"
REACHING = {
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "timeout",
    "retries",
}
"""pip's settings that say where packages come from."""
LABELS = {"VERSION": "0.0.0+check", "REVISION": "check"}


class Buildah:
    """buildah with a store of its own, which goes with its folder."""

    def __init__(self, store: Path) -> None:
        self._words = ["buildah", f"--root={store}/root", f"--runroot={store}/run", "--storage-driver=vfs"]

    def command(self, *words: str) -> list[str]:
        return [*self._words, *words]

    def run(self, *words: str, quiet: bool = True) -> str:
        """Standard output, without its end of line; printed where not `quiet`. Raises CalledProcessError."""
        output = subprocess.PIPE if quiet else None
        done = subprocess.run(self.command(*words), check=True, stdout=output, text=True)
        return (done.stdout or "").strip()


def bare(root: Path) -> None:
    print("debootstrap bookworm", flush=True)
    words = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", "bookworm", str(root)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def prepare(root: Path) -> None:
    """pip in there installs what it installs here, into Debian's Python as into an image of Python."""
    root.chmod(0o755)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    # `global.index-url='https://…'` of a file and `:env:.find-links='…'` of the environment alike.
    settings = dict(re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", _pip_settings(), re.M))
    lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items() if name in REACHING)]
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n")
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            (root / name).unlink(missing_ok=True)
            shutil.copy(Path("/", name), root / name)


def _pip_settings() -> str:
    words = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def base_image(buildah: Buildah, root: Path) -> None:
    container = buildah.run("from", "scratch")
    buildah.run("copy", "--quiet", container, str(root), "/")
    buildah.run("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah.run("commit", "--quiet", "--rm", container, BASE)


def build(buildah: Buildah) -> None:
    folders = [f"--volume={folder}:{folder}:ro" for folder in _package_folders()]
    arguments = [f"--build-arg={name}={value}" for name, value in ({"PYTHON_IMAGE": BASE} | LABELS).items()]
    fixed = ["--isolation=chroot", "--format=docker", "--network=host", f"--target={TARGET}", f"--tag={IMAGE}"]
    buildah.run("build", *fixed, *folders, *arguments, str(dockerfile.ROOT), quiet=False)


def _package_folders() -> Iterator[Path]:
    """Folders of this machine that pip takes packages from."""
    told = _pip_settings()
    indexes = {Path(found).parent for found in re.findall(r"file://(/[^\s']+)", told)}  # its files lie beside it
    folders = {Path(found) for found in re.findall(r"find-links='(/[^\s']+)'", told)} | indexes
    return (folder for folder in sorted(folders) if folder.is_dir())


def check_configuration(buildah: Buildah) -> list[str]:
    """The program that it starts. Raises AssertionError for what differs from the Dockerfile."""
    described: Any = json.loads(buildah.run("inspect", "--type=image", IMAGE))["Docker"]["config"]
    steps = dockerfile.stage(TARGET)
    assert described["User"] == f"{USER}:{USER}", described["User"]
    assert set(described["ExposedPorts"]) == {"8000/tcp"}, described["ExposedPorts"]
    assert dockerfile.words(steps, "HEALTHCHECK") == described["Healthcheck"]["Test"][1:], described["Healthcheck"]
    labels = described["Labels"]
    found = {name: labels[f"org.opencontainers.image.{name.lower()}"] for name in LABELS}
    assert found == LABELS, labels
    program: list[str] = [*described["Entrypoint"], *described["Cmd"]]
    assert program == [*dockerfile.words(steps, "ENTRYPOINT"), *dockerfile.words(steps, "CMD")], program
    return program


@contextmanager
def running(buildah: Buildah, program: Sequence[str], teams: Path, port: int) -> Iterator[Sandboxed]:
    """A container of the image. What it said is printed where something fails."""
    container = buildah.run("from", IMAGE)
    told = {"RUBRICD_PORT": str(port), "RUBRICD_TEAMS": "/etc/rubricd/teams/teams.yaml", "HF_HUB_OFFLINE": "1"}
    environment = [f"--env={name}={value}" for name, value in told.items()]
    words = buildah.command("run", "--isolation=chroot", "--network=host", f"--volume={teams}:/etc/rubricd/teams:ro")
    with Path(teams.parent, "said").open("w+") as output:
        process = subprocess.Popen([*words, *environment, container, "--", *program], stdout=output, stderr=output)
        try:
            yield Sandboxed(process)  # type: ignore[arg-type]  # its outputs are a file
        except BaseException:
            output.seek(0)
            print(output.read(), end="")
            raise
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def serve(buildah: Buildah, program: Sequence[str], teams: Path) -> None:
    rotate(teams, KEYS[0])
    port, started = free_port(), time.monotonic()
    with running(buildah, program, teams, port) as container:
        until(lambda: ready(port), container)
        print(f"ready after {time.monotonic() - started:.1f} s")
        found = judged(ask(port, KEYS[0]))
        print(f"judged: {found}")
        assert found == [("ok", True, "judge"), ("ok", True, "rule")]
        assert ask(port, KEYS[1]).status_code == 401
        [first] = _services(container)
        assert set(first.uids()) == {USER}, first.uids()
        print(f"user {USER}, {first.memory_info().rss / 2**20:.0f} MiB resident")
        first.terminate()
        assert container.process.wait(timeout=60) == 0
        print("stopped with 0")


def _services(container: Sandboxed) -> list[psutil.Process]:
    """The service's own process in the container, without its workers."""
    found = psutil.Process(container.process.pid).children(recursive=True)
    services = [one for one in found if one.cmdline()[1:3] == ["-m", "service"]]
    return [one for one in services if one.parent() not in services]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a Debian that debootstrap has made already; it is changed")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("this needs root: debootstrap and buildah mount file systems")
        return 2
    with tempfile.TemporaryDirectory(prefix="rubricd-image-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the container's user reads the teams in there
        root, teams, buildah = args.root or folder / "root", folder / "teams", Buildah(folder / "store")
        teams.mkdir(mode=0o755)
        if args.root is None:
            bare(root)
        prepare(root)
        base_image(buildah, root)
        began = time.monotonic()
        build(buildah)
        size = buildah.run("images", "--format={{.Size}}", IMAGE)
        print(f"built in {time.monotonic() - began:.0f} s, {size}")
        serve(buildah, check_configuration(buildah), teams)
        buildah.run("rm", "--all")
    print("the image works")
    return 0


if __name__ == "__main__":
    sys.exit(main())

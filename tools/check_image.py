"""`make check-image`: the CPU target's own steps, one after the other, in a bare Debian, and then its service in there.

Debian's Python stands for the base image's. The root is built by debootstrap, so this needs root, a Debian mirror and a
package index; what pip is told by this machine (pip.conf, PIP_*, certificates) it is told in there too.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from testkit import dockerfile
from testkit.one_team import KEYS, ask, judged, ready, rotate, until
from testkit.sandbox import USER, Sandboxed

TARGET = "cpu"
INCLUDED = "python3,python3-pip,python3-venv,ca-certificates"

_RUN = r"""
set -e
root=$1 user=$2 where=$3 writable=$4; shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 none "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
mount -t tmpfs -o mode=1777 none "$root/tmp"
for folder in $FOLDERS; do mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"; done
[ "$writable" = yes ] || mount -o remount,bind,ro "$root"
drop="--no-new-privs --pdeathsig KILL"
[ "$user" = 0 ] || drop="$drop --reuid $user --regid $user --clear-groups --bounding-set=-all --inh-caps=-all"
exec chroot "$root" setpriv $drop env -i "$@"
"""


def command(root: Path, user: int, where: str, environment: Mapping[str, str], words: list[str]) -> list[str]:
    """In the root: its steps as its own root, with a writable file system; the service as its user, with none."""
    given = [f"{name}={value}" for name, value in environment.items()]
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', where, *words]
    writable = "yes" if user == 0 else "no"
    space = ["unshare", "--mount", "--pid", "--fork", "bash", "-c", _RUN]
    return [*space, "run", str(root), str(user), where, writable, *given, *inside]


def step(root: Path, where: str, environment: Mapping[str, str], line: str) -> None:
    """A RUN. Raises CalledProcessError."""
    words = ["sh", "-c", line]
    subprocess.run(command(root, 0, where, environment, words), check=True, env=_outside())


def build(root: Path) -> tuple[str, dict[str, str]]:
    """The target's steps; its WORKDIR and its environment."""
    where, environment = "/", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    steps = dockerfile.stage(TARGET)
    index = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for one in steps:
        started = time.monotonic()
        match one.instruction:
            case "WORKDIR":
                where = one.value
                (root / where.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                dockerfile.lay_out([one], root / where.lstrip("/"))
            case "ENV":
                environment |= dockerfile.environment([one])
            case "RUN":
                step(root, where, environment | index, one.value)
        print(f"{time.monotonic() - started:7.1f} s  {one.instruction} {one.value[:90]}", flush=True)
    return where, environment


def bare(root: Path) -> None:
    print("debootstrap bookworm", flush=True)
    words = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", "bookworm", str(root)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def prepare(root: Path) -> None:
    root.chmod(0o755)
    # An image of Python lets pip install into it; Debian does not.
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name in ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            (root / name).unlink(missing_ok=True)
            shutil.copy(Path("/", name), root / name)


def serve(root: Path, where: str, environment: Mapping[str, str], teams: Path) -> None:
    """Raises AssertionError with what it said."""
    rotate(teams, KEYS[0])
    shutil.copytree(teams, root / "etc/rubricd/teams", symlinks=True)
    for folder, _, files in os.walk(root / "etc/rubricd"):
        for one in (folder, *(os.path.join(folder, file) for file in files)):
            os.chown(one, 0, USER, follow_symlinks=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"RUBRICD_PORT": str(port), "RUBRICD_TEAMS": "/etc/rubricd/teams/teams.yaml", "HF_HUB_OFFLINE": "1"}
    steps = dockerfile.stage(TARGET)
    program = [*dockerfile.words(steps, "ENTRYPOINT"), *dockerfile.words(steps, "CMD")]
    words = command(root, USER, where, {**environment, **told}, program)
    started = time.monotonic()
    with (teams / "said").open("w+") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, text=True, env=_outside())
        running = Sandboxed(process)
        try:
            until(lambda: ready(port), 240, running)
            print(f"ready after {time.monotonic() - started:.1f} s")
            found = judged(ask(port, KEYS[0]))
            print(f"judged: {found}")
            assert found == [("ok", True, "judge"), ("ok", True, "rule")]
            assert ask(port, KEYS[1]).status_code == 401
            first = running.first
            health = dockerfile.words(steps, "HEALTHCHECK")
            inside = ["nsenter", f"--target={first.pid}", "--mount", "--root", "env", "-i", "PATH=/usr/bin"]
            subprocess.run([*inside, f"RUBRICD_PORT={port}", *health], check=True, timeout=30)
            print(f"healthy, {first.memory_info().rss / 2**20:.0f} MiB resident")
            assert running.terminate() == 0
            print("stopped with 0")
        except BaseException:
            output.seek(0)
            print(output.read(), end="")
            raise
        finally:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a Debian that debootstrap has made already; it is changed")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("this needs root: it mounts, and changes its root folder")
        return 2
    with tempfile.TemporaryDirectory(prefix="rubricd-image-") as scratch:
        root, teams = args.root or Path(scratch, "root"), Path(scratch, "teams")
        teams.mkdir()
        if args.root is None:
            bare(root)
        prepare(root)
        where, environment = build(root)
        serve(root, where, environment, teams)
    print("the image's steps work")
    return 0


def _outside() -> dict[str, str]:
    """The environment of the mounts: `FOLDERS` of this machine that pip takes packages from."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    indexes = {Path(found).parent for found in re.findall(r"file://(/[^\s']+)", told.stdout)}
    folders = {Path(found) for found in re.findall(r"find-links='(/[^\s']+)'", told.stdout)} | indexes
    return {"PATH": os.environ["PATH"], "FOLDERS": " ".join(str(one) for one in folders if one.is_dir())}


if __name__ == "__main__":
    sys.exit(main())

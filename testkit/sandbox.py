"""A program as a container runs it, by Linux namespaces: process 1, another user, no capabilities, an environment of
its own, and of all paths only /tmp and /dev/shm writable. Who is not root keeps their user, in a namespace of it.

What is mounted for it: this Python and the packages of .venv (which are in an image too, at other places), and `app` as
its working folder.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from testkit.waiting import HUNG_S

USER = 10001

_SANDBOX = r"""
set -e
base=$1 closed=$2 libraries=$3 app=$4 teams=$5 user=$6; shift 6
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /mnt
mkdir -p /mnt/base /mnt/venv/bin /mnt/venv/lib /mnt/app /mnt/teams
mount --bind "$base" /mnt/base
mount --bind "$libraries" /mnt/venv/lib
mount --bind "$app" /mnt/app
mount --bind "$teams" /mnt/teams
if [ -n "$closed" ]; then
  mount -t tmpfs -o mode=755 none "$closed"
  mkdir -p "$base"
  mount --bind /mnt/base "$base"
fi
ln -s "$base/bin/python3" /mnt/venv/bin/python3
echo "home = $base/bin" > /mnt/venv/pyvenv.cfg
mount -t tmpfs -o mode=1777 none /tmp
mount -t tmpfs -o mode=1777,size=1g none /dev/shm
mount -t proc proc /proc
for mounted in / /mnt /mnt/base /mnt/venv/lib /mnt/app /mnt/teams $closed "$base"; do
  if mountpoint -q "$mounted"; then mount -o remount,bind,ro "$mounted"; fi
done
cd /mnt/app
drop="--no-new-privs --pdeathsig KILL"
[ "$user" = 0 ] || drop="$drop --reuid $user --regid $user --clear-groups --bounding-set=-all --inh-caps=-all"
exec setpriv $drop env -i "$@"
"""


@dataclass(slots=True)
class Sandboxed:
    """`lines` is what it said, on either output."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def first(self) -> psutil.Process:
        """Process 1 of its namespace."""
        [child] = psutil.Process(self.process.pid).children()
        return child

    def terminate(self) -> int:
        """SIGTERM, as a container is stopped; its exit status."""
        self.first.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HUNG_S)


@contextmanager
def sandboxed(
    words: Sequence[str], app: Path, environment: Mapping[str, str], teams: Path | None = None
) -> Iterator[Sandboxed]:
    """`teams` is seen at /mnt/teams."""
    root = os.geteuid() == 0
    user = str(USER if root else 0)
    given = {"PATH": "/mnt/venv/bin:/usr/local/bin:/usr/bin:/bin", **environment}
    base = Path(sys.base_prefix).resolve()
    seen = [base, _closed(base) if root else "", Path(sys.prefix, "lib"), app, teams or app, user]
    command = [
        "unshare",
        *(() if root else ("--user", "--map-root-user")),
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
    ]
    command += [
        "bash",
        "-c",
        _SANDBOX,
        "sandbox",
        *map(str, seen),
        *(f"{name}={value}" for name, value in given.items()),
    ]
    process = subprocess.Popen(
        [*command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Sandboxed(process)
    reading = threading.Thread(target=lambda: running.lines.extend(process.stdout or ()), daemon=True)
    reading.start()
    try:
        yield running
    finally:
        with suppress(psutil.NoSuchProcess, ValueError):
            running.first.kill()
        process.kill()
        process.wait(timeout=HUNG_S)
        reading.join()
        assert process.stdout is not None
        process.stdout.close()


def _closed(base: Path) -> Path | str:
    """The folder that keeps other users from this Python; empty if there is none."""
    return next((folder for folder in reversed(base.parents) if not folder.stat().st_mode & 0o001), "")

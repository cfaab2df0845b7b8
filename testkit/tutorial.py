"""Runs the commands of a page of the tutorial as a reader would, in a folder that has the repository and nothing else.

A block with `title="NAME"` is written to that file. Of `console` blocks each line that begins with `$ ` is run, with
what follows it up to the next one. Servers are started in the background, and are ready before the next command.

Guarantees: what is not run is in SKIPPED, by how it begins: what would install packages, or clone the repository.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testkit.free_port import free_port
from testkit.waiting import START_S

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = ("git clone ", "source .venv/", "pip install ")
SERVERS: Mapping[str, tuple[int, str]] = {
    "make serve": (8000, "/readyz"),
    "python examples/tutorial/generator.py": (8200, ""),
}
"""How a command begins that serves, with the port of the page and the path that is 200 when it is ready; "" where any
answer will do."""
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.S | re.M)
_COMMAND_S = 600.0


@dataclass(frozen=True, slots=True)
class Ran:
    command: str
    code: int
    said: str


def steps(page: str) -> Iterator[tuple[str, str]]:
    """In the page's order: ("file NAME", its text) or ("run", a command)."""
    for language, title, text in _BLOCK.findall(page):
        if title:
            yield f"file {title}", text
        elif language == "console":
            for command in re.split(r"^\$ ", text, flags=re.M)[1:]:
                yield "run", command.rstrip("\n")


def lay_out(folder: Path) -> None:
    """Puts the repository's top-level names into the folder, as links."""
    for name in (".venv", *_tracked()):
        (folder / name).symlink_to(ROOT / name)


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({line.partition("/")[0] for line in listed.splitlines()})


@dataclass(slots=True)
class Reader:
    """Somebody who follows a page in `folder`. `instead` replaces texts in commands and files."""

    folder: Path
    instead: Mapping[str, str] = field(default_factory=dict)
    ran: list[Ran] = field(default_factory=list)
    _servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _ports: dict[int, int] = field(default_factory=dict)

    def follow(self, page: str) -> None:
        for kind, text in steps(page):
            text = self._changed(text)
            if kind.startswith("file "):
                (self.folder / kind.removeprefix("file ")).write_text(text, encoding="utf-8")
            elif server := next((one for one in SERVERS if text.startswith(one)), None):
                self._serve(text, server)
            elif not text.startswith(SKIPPED):
                self._run(text)

    def _changed(self, text: str) -> str:
        for old, new in self.instead.items():
            text = text.replace(old, new)
        for port, _ in SERVERS.values():
            own = self._ports.setdefault(port, free_port())
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        if text.startswith("rubricd doctor") or " rubricd doctor" in text or re.search(r"\brubricd score ", text):
            text += f" --url http://127.0.0.1:{self._ports[8000]}"
        return text

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self._environment(), capture_output=True, timeout=_COMMAND_S
        )
        said = (done.stdout + done.stderr).decode(errors="replace")
        self.ran.append(Ran(command, done.returncode, said))

    def _serve(self, command: str, server: str) -> None:
        port, path = SERVERS[server]
        own = self._ports[port]
        # What a checkout has installed is not installed again: `-o` says that these are new enough.
        command = command.replace("make serve", f"make -o .venv/service -o .venv/real-judge serve PORT={own}")
        command += f" {own}" if server.startswith("python ") else ""
        with (self.folder / f"server{len(self._servers)}.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self._environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._servers.append(process)
        self.ran.append(Ran(command, self._until_ready(process, f"http://127.0.0.1:{own}{path}"), ""))

    def _until_ready(self, process: subprocess.Popen[bytes], url: str) -> int:
        """0 once it answers; else its exit status, or -1 where it never answered."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=10).close()
                return 0
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    return 0
            except OSError:
                pass
            time.sleep(0.2)
        return -1 if process.poll() is None else process.returncode

    def _environment(self) -> Mapping[str, str]:
        own = {"PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder)}
        return {**os.environ, **own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}

    def close(self) -> None:
        for process in self._servers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._servers:
            process.wait(timeout=START_S)


@contextmanager
def reader(folder: Path, instead: Mapping[str, str] | None = None) -> Iterator[Reader]:
    """A reader in a fresh checkout in `folder`, whose servers end with the block."""
    lay_out(folder)
    somebody = Reader(folder, instead or {})
    try:
        yield somebody
    finally:
        somebody.close()

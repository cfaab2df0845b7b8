"""Takes the pictures of the product in docs/pictures, from the product as it is: `make pictures`.

Each picture names the sources that it shows. Their digest is written beside the pictures, and a test compares it, so
that a picture of an older page fails the tests.

Guarantees: a picture and its digest are written together, after the picture was taken.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from testkit.browser import Scheme, chromium, opened, picture
from testkit.processes import service
from tools import live_picture, view_picture

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
DIGESTS = FOLDER / "sources.json"
_SCORED_MS, _DRAWN_MS = 60_000, 1_000


_Take = Callable[[Browser, Path], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """`sources` are globs below the repository: what the picture would look different without."""

    sources: tuple[str, ...]
    take: _Take

    def files(self, root: Path = ROOT) -> list[Path]:
        return sorted({path for glob in self.sources for path in root.glob(glob) if path.is_file()})

    def digest(self, root: Path = ROOT) -> str:
        whole = hashlib.sha256()
        for path in self.files(root):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
        return whole.hexdigest()


def _playground(scheme: Scheme = "light", size: tuple[int, int, float] = (1280, 900, 1.0)) -> _Take:
    """`size` is width and height in CSS pixels, and how many of the picture's one of them is."""
    width, height, scale = size

    def take(browser: Browser, path: Path) -> None:
        with (
            service() as running,
            opened(browser, running.url, scheme=scheme, width=width, height=height, scale=scale) as page,
        ):
            _settle(page)
            _score(page)
            picture(page, path)

    return take


def _score(page: Page) -> None:
    with page.expect_response(lambda answer: "/v1/score" in answer.url, timeout=_SCORED_MS):
        page.locator("#go").click()
    page.wait_for_timeout(_DRAWN_MS)


def _report(browser: Browser, path: Path) -> None:
    """A training of 60 steps on the bundled judge and policy, with the pointer on its first chart."""
    with tempfile.TemporaryDirectory() as folder, service() as running:
        run = Path(folder) / "run"
        settings = ("--set", f"judging.url={running.url}", "--set", "steps=60", "--set", "save_every=60")
        command = (sys.executable, "-m", "trainer_client", "train", "examples/run.yaml", "--toy-judge", "--out", run)
        subprocess.run([*command, *settings], cwd=ROOT, check=True, capture_output=True)
        with opened(browser, (run / "report.html").as_uri(), height=1000) as page:
            page.locator("svg").first.hover()
            picture(page, path)


def _settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")


_SHARED = ("trainer_client/pages/palette.css", "trainer_client/pages/dom.js", "trainer_client/pages/writing.js")
_PLAYGROUND = (*_SHARED, *(f"service/api/pages/*.{kind}" for kind in ("html", "css", "js")))
PICTURES: Mapping[str, Picture] = {
    "playground.png": Picture(_PLAYGROUND, _playground()),
    "playground_dark.png": Picture(_PLAYGROUND, _playground("dark")),
    "playground_phone.png": Picture(_PLAYGROUND, _playground(size=(360, 720, 2.0))),
    "live.png": Picture((*_SHARED, "service/api/pages/style.css", "service/api/pages/live.*"), live_picture.take),
    "view.png": Picture(view_picture.SOURCES, view_picture.take),
    "report.png": Picture(("trainer_client/training/report/*.py", "trainer_client/pages/*"), _report),
}


def stale(folder: Path = FOLDER, root: Path = ROOT) -> list[str]:
    """The pictures that are missing, or show what has changed since."""
    path = folder / DIGESTS.name
    written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        name for name, one in PICTURES.items() if not (folder / name).exists() or written.get(name) != one.digest(root)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Take the pictures of the product that have become stale.")
    parser.add_argument("--all", action="store_true", help="take every picture")
    wanted = list(PICTURES) if parser.parse_args().all else stale()
    with chromium() as browser:
        for name in wanted:
            PICTURES[name].take(browser, FOLDER / name)
            written = json.loads(DIGESTS.read_text(encoding="utf-8")) if DIGESTS.exists() else {}
            written = {**written, name: PICTURES[name].digest()}
            DIGESTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            print(f"{FOLDER.relative_to(ROOT) / name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

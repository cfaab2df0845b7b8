"""Builds the documentation's site: `make docs` into build/docs/site, `make docs-serve` on this machine.

The generator gets a folder of its own: a copy of the pages, the reference pages that `tools/reference_pages.py` writes,
and links to files outside of the site as links to the repository.

Guarantees: a link, an anchor or a picture that leads nowhere fails the build.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools import operations

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
STYLE = ROOT / "tools" / "docs_site.css"
SCRIPT = ROOT / "tools" / "docs_site.js"
REPOSITORY = "https://github.com/rubricd/rubricd"
OUTSIDE: Mapping[str, str] = {
    "CONTRIBUTING.md": "design/contributing.md",
    "CHANGELOG.md": "changelog.md",
    "miniature/README.md": "design/miniature.md",
    "labelled/README.md": "design/labelled.md",
    "examples/README.md": "guide/examples.md",
}
"""Pages that stand elsewhere in the repository, and their places in the site."""
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s#]*)(#[^)\s]*)?(\))")
_FENCED = re.compile(r"(^```.*?^```)", re.S | re.M)


def stage(root: Path, folder: Path, reference: Mapping[str, str]) -> None:
    """Writes what the generator reads into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    docs = root / "docs"
    places = {path: path.relative_to(docs) for path in docs.rglob("*") if path.is_file()}
    places |= {root / page: Path(place) for page, place in OUTSIDE.items() if (root / page).exists()}
    decisions = sorted(place for place in places.values() if place.parent.as_posix() == "design/decisions")
    for source, place in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(_linked(source, places, root), encoding="utf-8")
        else:
            shutil.copyfile(source, target)
    shutil.copyfile(STYLE, folder / "site.css")
    shutil.copyfile(SCRIPT, folder / "site.js")
    for path, text in {**reference, "design/decisions/index.md": _decisions(docs, decisions)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _linked(source: Path, places: Mapping[Path, Path], root: Path) -> str:
    """The page with its links as they must be in the site. What leads nowhere stays, for the build to find."""

    def rewritten(match: re.Match[str]) -> str:
        before, link, anchor, after = match.group(1), match.group(2), match.group(3) or "", match.group(4)
        if not link or re.match(r"\w+:", link):
            return match.group()
        goal = Path(os.path.normpath(source.parent / link))
        if goal in places:
            link = os.path.relpath(places[goal], places[source].parent)
        elif goal == root / "docs" / "design" / "decisions":
            link = os.path.relpath("design/decisions/index.md", places[source].parent)
        elif goal.exists() and not anchor.startswith("#/"):
            kind = "tree" if goal.is_dir() else "blob"
            link = f"{REPOSITORY}/{kind}/main/{goal.relative_to(root).as_posix()}"
        return f"{before}{link}{anchor}{after}"

    text = source.read_text(encoding="utf-8")
    parts = _FENCED.split(operations.without_tables(text) if source == operations.PAGE else text)
    return "".join(part if part.startswith("```") else _LINK.sub(rewritten, part) for part in parts)


def _decisions(docs: Path, pages: list[Path]) -> str:
    titles = [(page.name, (docs / page).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")) for page in pages]
    rows = "".join(f"- [{title}]({name})\n" for name, title in titles)
    return f"# Decisions\n\nWhat was decided, and why, in the order of time.\n\n{rows}"


def build(root: Path = ROOT, folder: Path = BUILD, reference: Mapping[str, str] | None = None) -> int:
    """Builds the site strictly into `folder`/site and returns the generator's exit status."""
    if reference is None:
        from tools.reference_pages import pages

        reference = pages()
    stage(root, folder / "source", reference)
    shutil.copyfile(root / "zensical.toml", folder / "zensical.toml")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if code := subprocess.run(command, cwd=folder, check=False).returncode:
        return code
    for missing in missing_images(folder / "site"):
        print(missing, file=sys.stderr)
        code = 1
    return code


def missing_images(site: Path) -> Iterator[str]:
    """Pictures that a page shows and that are not there, which the generator does not look for."""
    for page in sorted(site.rglob("*.html")):
        for source in re.findall(r"<img\b[^>]*?\bsrc=\"?([^\"\s>]+)", page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", source) and not (page.parent / source).exists():
                yield f"{page.relative_to(site)}: there is no picture {source}"


def requests_elsewhere(site: Path) -> Iterator[str]:
    """What a built page would load from another host: its file and the address."""
    loads = re.compile(r"<(?:script|img|iframe|link(?=[^>]*rel=\"?(?:stylesheet|preload|preconnect|icon)))\b[^>]*"
                       r"(?:src|href)=\"?(https?://[^\"\s>]+|//[^\"\s>]+)")  # fmt: skip
    for page in sorted(site.rglob("*.html")):
        for address in loads.findall(page.read_text(encoding="utf-8")):
            yield f"{page.relative_to(site)}: {address}"


def taken(port: int) -> str | None:
    """Why nothing can listen on this port of loopback; None where something can."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return error.strerror or str(error)
    except OverflowError:
        return "no port has this number"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documentation's site, or serve it on this machine.")
    parser.add_argument("--serve", action="store_true", help="serve the built site until it is interrupted")
    parser.add_argument("--port", type=int, default=8001, help="the port to serve on (default: %(default)s)")
    args = parser.parse_args()
    if args.serve and (reason := taken(args.port)) is not None:
        print(
            f"port {args.port} cannot be served on ({reason}); name another one: make docs-serve PORT=…",
            file=sys.stderr,
        )
        return 2
    if code := build():
        return code
    site = BUILD / "site"
    print(f"the documentation is in {site.relative_to(ROOT)}: open index.html")
    if not args.serve:
        return 0
    print(f"serving http://127.0.0.1:{args.port}/ until Ctrl+C")
    command = [sys.executable, "-m", "http.server", str(args.port), "--bind", "127.0.0.1", "--directory", str(site)]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())

"""Puts a page together: its HTML with the styles and scripts that it names written into it. Pure but for reading files.

A page names styles as `<style data-from="a.css b.css"></style>` and one script as `<script data-from="main.js">`. The
script's imports are followed, so that each file is a module that an editor understands, and the page has one script
with no imports left.

Guarantees: the policy allows a page's own scripts and styles by their digests, and nothing else. A name that two
scripts declare at their top is an error at the start, as one script cannot hold both.
"""

import base64
import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parent
_NAMED = re.compile(r'<(style|script) data-from="([^"]+)"></\1>')
_IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"\./([\w.]+)";\n', re.M)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:const|let|class|function\*?) (\w+)", re.M)


def assembled(name: str, folder: Path = FOLDER) -> str:
    """The page of this file's name, without anything to load. Raises ValueError for scripts that do not fit."""

    def written(named: re.Match[str]) -> str:
        tag, names = named[1], named[2].split()
        if tag == "style":
            return f"<style>{''.join(_read(folder, one) for one in names)}</style>"
        return f'<script>"use strict";\n{_one_script(folder, names)}</script>'

    return _NAMED.sub(written, _read(folder, name))


def headers_of(page: str) -> dict[str, str]:
    """The headers of one of our pages: a browser runs what stands in it, and shows it in no frame."""
    return {
        "Content-Security-Policy": _policy(page),
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }


def _one_script(folder: Path, names: list[str]) -> str:
    """The scripts and what they import, each once and after what it imports."""
    order: list[str] = []
    for name in names:
        _visit(folder, name, order)
    texts = [_IMPORT.sub("", _read(folder, name)) for name in order]
    declared: dict[str, str] = {}
    for name, text in zip(order, texts, strict=True):
        for variable in _DECLARED.findall(text):
            if variable in declared:
                raise ValueError(f"{name} and {declared[variable]} both declare {variable}")
            declared[variable] = name
    return "".join(re.sub(r"^export ", "", text, flags=re.M) for text in texts)


def _visit(folder: Path, name: str, order: list[str]) -> None:
    if name in order:
        return
    for other in _IMPORT.findall(_read(folder, name)):
        _visit(folder, other, order)
    order.append(name)


def _read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def _policy(page: str) -> str:
    """The content security policy of a page with scripts and styles of its own."""
    script, style = (" ".join(_hashes(page, tag)) or "'none'" for tag in ("script", "style"))
    rules = {
        "default-src": "'none'",
        "script-src": script,
        "style-src": style,
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hashes(page: str, tag: str) -> list[str]:
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]

"""Puts pages together of small files: styles, and scripts whose imports are followed. Pure but for reading files.

A page names styles as `<style data-from="shared/palette.css a.css"></style>` and one script as `<script
data-from="main.js">`. Names that begin with `shared/` are of this folder, which holds what all pages share. So each
file is a module that an editor understands, and the page has one script with no imports left.

Guarantees: a name that two scripts of a page declare at their top is an error, as one script cannot hold both.
"""

import base64
import hashlib
import re
from pathlib import Path

_SHARED = Path(__file__).parent
_NAMED = re.compile(r'<(style|script) data-from="([^"]+)"></\1>')
_IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"(?:\./)?([\w./]+)";\n', re.M)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:const|let|class|function\*?) (\w+)", re.M)


def assembled(folder: Path, name: str) -> str:
    """The page of this file's name, without anything to load. Raises ValueError for scripts that do not fit."""

    def written(named: re.Match[str]) -> str:
        tag, names = named[1], named[2].split()
        inner = style(folder, *names) if tag == "style" else script(folder, *names)
        return f"<{tag}>{inner}</{tag}>"

    return _NAMED.sub(written, _read(folder, name))


def style(folder: Path, *names: str) -> str:
    """The styles, one after the other."""
    return "".join(_read(folder, one) for one in names)


def script(folder: Path, *names: str) -> str:
    """The scripts and what they import, each once and after what it imports, as one script with names of its own."""
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
    plain = "".join(re.sub(r"^export ", "", text, flags=re.M) for text in texts)
    return f'"use strict";\n(() => {{\n{plain}}})();\n'


def digest(text: str) -> str:
    """The SHA-256 by which a Content-Security-Policy names a script or a style."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _visit(folder: Path, name: str, order: list[str]) -> None:
    if name in order:
        return
    for other in _IMPORT.findall(_read(folder, name)):
        _visit(folder, other, order)
    order.append(name)


def _read(folder: Path, name: str) -> str:
    shared = name.removeprefix("shared/")
    return (folder / name if shared == name else _SHARED / shared).read_text(encoding="utf-8")

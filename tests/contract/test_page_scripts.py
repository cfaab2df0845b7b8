"""The scripts of all pages: each name is needed, nothing is written twice, and each page's own parts fit together."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from testkit.processes import ROOT

FOLDERS = [ROOT / "service/api/pages", ROOT / "trainer_client/viewer/scripts", ROOT / "trainer_client/pages"]
SCRIPTS = [path for folder in FOLDERS for path in sorted(folder.glob("*.js"))]
MOST_LINES = 300
_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.M)
_TOP = re.compile(r"^(export )?(?:async )?(?:const|let|class|function\*?) ([\w$]+)", re.M)
_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//.*')
_LONG = 60
"""Characters from which on an equal line is no accident."""


def _code(path: Path) -> str:
    """Without its imports, comments and plain strings."""
    return _STRINGS.sub('""', _IMPORT.sub("", path.read_text(encoding="utf-8")))


def _uses(name: str, code: str) -> int:
    return len(re.findall(rf"(?<![\w.$]){re.escape(name)}(?![\w$])|\.\.\.{re.escape(name)}(?![\w$])", code))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_name_of_a_script_is_needed(path: Path) -> None:
    text, code = path.read_text(encoding="utf-8"), _code(path)
    imported = [name.strip() for names, _ in _IMPORT.findall(text) for name in names.split(",")]
    assert [name for name in imported if not _uses(name, code)] == []
    assert [name for export, name in _TOP.findall(text) if not export and _uses(name, code) < 2] == []
    assert len(text.splitlines()) <= MOST_LINES


def test_every_export_is_imported_and_every_import_exported() -> None:
    exported: dict[Path, set[str]] = defaultdict(set)
    wanted: dict[Path, set[str]] = defaultdict(set)
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        exported[path] |= {name for export, name in _TOP.findall(text) if export}
        for names, source in _IMPORT.findall(text):
            shared = source.startswith("shared/")
            wanted[(FOLDERS[2] if shared else path.parent) / Path(source).name] |= {n.strip() for n in names.split(",")}
    assert {path.name: exported[path] ^ wanted[path] for path in SCRIPTS if exported[path] != wanted[path]} == {}


def test_no_line_of_code_is_written_twice() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in SCRIPTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if len(line.strip()) >= _LONG and not line.startswith(("import", "//")):
                places[line.strip()].add(path.name)
    assert {line: found for line, found in places.items() if len(found) > 1} == {}


def test_all_pages_have_one_palette() -> None:
    named = re.compile(r"(--[a-z][\w-]*)\s*:")
    palette = set(named.findall((FOLDERS[2] / "palette.css").read_text(encoding="utf-8")))
    styles = [*FOLDERS[0].glob("*.css"), *(ROOT / "trainer_client/viewer").glob("*.css"), FOLDERS[2] / "page.html"]
    for path in styles:
        text = path.read_text(encoding="utf-8")
        assert not palette & set(named.findall(text)), f"{path.name} gives a colour of the palette another value"
        known = palette | set(named.findall(text)) | {"--columns"}
        assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= known, path.name
        ground = re.sub(r"/\*.*?\*/|\$\w+", "", text, flags=re.S)
        assert not re.findall(r":[^;{}]*#[0-9a-f]{3,8}\b", ground), f"{path.name} has a colour of its own"

"""Rules of the house that no linter knows: names, sizes, folders, and what is not used at all.

What a rule would find is planted first, so that a rule that finds nothing anywhere is seen.
"""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("service", "trainer_client")
MOST_LINES = 400
"""A file has about 300. One of more than this is about two things."""
NAMES_OF_NOTHING = {"utils", "util", "helpers", "misc", "stuff"}
FORBIDDEN_IMPORTS = {
    "abc": "interfaces are `Protocol`",
    "pickle": "what is read back may have been written by others",
    "marshal": "as pickle",
    "shelve": "as pickle",
    "dill": "as pickle",
}
KEPT_PREFIXES = {
    ("service/modes", "level"): "they stand on three floors of their folder",
}


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split() if (ROOT / path).exists()]


FILES = _tracked()
TREES = {
    path: ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for path in FILES
    if path.split("/")[0] in PRODUCT and (ROOT / path).stat().st_size
}


def _shared_prefixes(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Folder and word by which three files or more of it begin."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for path in map(PurePosixPath, paths):
        if not path.stem.startswith("_") and path.stem != "conftest":
            found[str(path.parent), path.stem.split("_")[0]] += 1
    return (place for place, times in found.items() if times > 2)


def _bad_names(path: str, tree: ast.Module) -> Iterator[str]:
    if PurePosixPath(path).stem in NAMES_OF_NOTHING:
        yield path
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and re.search(r"^Base[A-Z]|(Manager|Handler)$", node.name):
            yield f"{path}: {node.name}"


def _bad_imports(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] in FORBIDDEN_IMPORTS:
                yield f"{path}: {name}: {FORBIDDEN_IMPORTS[name.split('.')[0]]}"


def test_the_rules_find_what_they_are_about() -> None:
    planted = ast.parse(
        "import pickle\nfrom abc import ABC\nclass JobManager: ...\nclass BaseJudge: ...\nclass Base64: ..."
    )
    assert list(_bad_imports("x.py", planted)) == [
        f"x.py: {one}: {FORBIDDEN_IMPORTS[one]}" for one in ("pickle", "abc")
    ]
    assert list(_bad_names("service/utils.py", planted)) == [
        "service/utils.py",
        "service/utils.py: JobManager",
        "service/utils.py: BaseJudge",
    ]
    assert list(_shared_prefixes(["a/run.py", "a/run_dir.py", "a/run_config.py", "b/run.py"])) == [("a", "run")]


def test_no_name_says_nothing() -> None:
    assert [one for path, tree in TREES.items() for one in _bad_names(path, tree)] == []


def test_nothing_that_runs_what_it_reads_is_imported_and_no_abstract_base_class() -> None:
    assert [one for path, tree in TREES.items() for one in _bad_imports(path, tree)] == []


def test_a_prefix_that_three_files_share_is_a_folder() -> None:
    found = set(_shared_prefixes(path for path in FILES if not path.startswith("tests/")))
    assert found == set(KEPT_PREFIXES), "make it a folder"


@pytest.mark.parametrize("package", PRODUCT)
def test_every_module_says_first_what_it_does(package: str) -> None:
    silent = [
        path
        for path, tree in TREES.items()
        if path.startswith(f"{package}/") and not path.endswith("__init__.py") and not ast.get_docstring(tree)
    ]
    assert silent == []


def test_no_file_is_about_two_things() -> None:
    long = {path: lines for path in FILES if (lines := (ROOT / path).read_bytes().count(b"\n")) > MOST_LINES}
    assert long == {}, "split it where its two things meet"

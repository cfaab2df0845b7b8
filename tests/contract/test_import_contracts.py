"""import-linter's contracts catch what they promise to catch: violations planted in a copy of the tree are named."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.waiting import HUNG_S

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
PACKAGES: list[str] = CONFIGURATION["root_packages"]

PLANTED = {
    "service/api/routes.py": "import trainer_client.sizing",
    "service/wiring.py": "import fastapi",
    "service/scheduling/queue.py": "import service.scheduling.admission",
    "service/scheduling/admission.py": "import service.scheduling.queue",
    "service/cache/memory.py": "import trainer_client.wire",
    "trainer_client/client.py": "import service.errors",
    "testkit/processes.py": "import tests.conftest",
    "tests/deploy/test_compose.py": "import loadtests.overload",
}
NAMED = [
    "service.api.routes -> trainer_client.sizing",
    "service.wiring -> fastapi",
    "No cycles are allowed in service.scheduling.",
    "service.cache.memory -> trainer_client.wire",
    "trainer_client.client -> service.errors",
    "testkit.processes -> tests.conftest",
    "tests.deploy.test_compose -> loadtests.overload",
]


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=HUNG_S, check=False
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The packages' Python files and the contracts, as they stand."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    yield copy


def test_every_package_of_the_repository_is_under_the_contracts() -> None:
    assert sorted(PACKAGES) == sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def test_planted_violations_are_named_and_without_them_the_contracts_hold(tree: Path) -> None:
    before = _lint(tree)
    assert before.returncode == 0, before.stdout + before.stderr
    for name, line in PLANTED.items():
        with (tree / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    after = _lint(tree)
    assert after.returncode == 1, after.stdout + after.stderr
    assert [one for one in NAMED if one not in after.stdout] == [], after.stdout

"""What one module does alone, where import-linter and ruff cannot say so: the syntax of every other module is searched.

The environment and the time are ruff's: see `banned-api` in pyproject.toml.
"""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from service.api.problems import TITLES
from testkit.waiting import HUNG_S

ROOT = Path(__file__).resolve().parents[2]

STATUS_OWNERS = {
    "service/api/problems.py": "maps errors to statuses",
    "service/api/openapi.py": "documents which statuses a route may answer with",
    "service/api/protocols/system_one.py": "gives errors the form of its protocol by these statuses",
    "service/api/middleware.py": "counts a bug, which is answered outside of it, as a 500",
}
LOADERS = {
    "service/engine/checkpoint.py": "loads the judge's weights and configuration",
    "service/engine/tokenizer.py": "converts the judge's tokenizer where the checkpoint has no tokenizer.json",
    "trainer_client/distillation/training.py": "loads the model that becomes a judge",
    "trainer_client/endpoint/local.py": "loads a small model that answers chat requests in place of an API",
    "trainer_client/evaluation/likelihood.py": "loads policies to read how likely answers are under them",
    "trainer_client/training/internalisation.py": "loads a run's checkpoints to measure them",
    "trainer_client/training/policy_check.py": "loads the policy's tokenizer and configuration to check a training",
    "trainer_client/training/demonstrations.py": "loads the tokenizer of the policy that learns reference answers",
    "trainer_client/trl/trainer.py": "loads the policy's tokenizer for stock TRL",
}

PAUSES = {
    "trainer_client/http/retry.py": "waits between two attempts: a retry elsewhere would need a pause, too",
    "trainer_client/cli/watch.py": "waits between two looks at a log that grows",
}


def _modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def _is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value in TITLES


def _loads(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "from_pretrained"


def _pauses(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "sleep"


@pytest.mark.parametrize(
    ("packages", "does", "owners"),
    [
        pytest.param(["service/api"], _is_status, STATUS_OWNERS, id="HTTP statuses of errors"),
        pytest.param(["service", "trainer_client"], _loads, LOADERS, id="from_pretrained"),
        pytest.param(["trainer_client"], _pauses, PAUSES, id="retries"),
    ],
)
def test_it_is_done_by_its_owners_alone(
    packages: list[str], does: Callable[[ast.AST], bool], owners: dict[str, str]
) -> None:
    found = {name for name, tree in _modules(*packages) if any(does(node) for node in ast.walk(tree))}
    assert found == set(owners)


def test_who_is_let_off_a_ban_of_ruff_needs_to_be() -> None:
    """The environment and the time of the service: pyproject.toml names the files that may, and no others do."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    owners = [name for name, codes in listed["per-file-ignores"].items() if codes == ["TID251"] and name[0] != "!"]
    command = [str(Path(sys.executable).with_name("ruff")), "check", "service", "--select=TID251", "--no-cache"]
    command += ["--config=lint.per-file-ignores={}", "--output-format=json"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG_S, check=False)
    found = {str(Path(one["filename"]).relative_to(ROOT)) for one in json.loads(checked.stdout)}
    assert {name for name in found if not any(fnmatch(name, owner) for owner in owners)} == set()
    assert {owner for owner in owners if not any(fnmatch(name, owner) for name in found)} == set()

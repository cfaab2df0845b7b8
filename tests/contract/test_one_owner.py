"""What one module does alone, where import-linter and ruff cannot say so: the syntax of every other module is searched.

The environment and the time are ruff's: see `banned-api` in pyproject.toml.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.api.problems import TITLES

ROOT = Path(__file__).resolve().parents[2]

STATUS_OWNERS = {
    "service/api/problems.py": "maps errors to statuses",
    "service/api/openapi.py": "documents which statuses a route may answer with",
    "service/api/middleware.py": "counts a bug, which is answered outside of it, as a 500",
    "service/api/routes.py": "answers the probes",
}
LOADERS = {
    "service/engine/checkpoint.py": "loads the judge's weights, configuration and tokenizer",
    "trainer_client/training/train.py": "loads the policy's tokenizer for a training",
    "trainer_client/trl/trainer.py": "loads the policy's tokenizer for stock TRL",
}

PAUSES = {"trainer_client/http/retry.py": "waits between two attempts: a retry elsewhere would need a pause, too"}


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

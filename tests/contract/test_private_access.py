"""Tests use what modules offer. How often a file reaches for another module's private names can only fall."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests", "testkit", "loadtests")
BUDGET = {
    "testkit/apps.py": 1,
    "testkit/ray/cluster.py": 1,
    "testkit/scripted_judge.py": 1,
    "tests/contract/test_docs.py": 3,
    "tests/contract/test_rows.py": 1,
    "tests/deploy/ray/test_configuration.py": 3,
    "tests/service/api/protocols/test_edge.py": 2,
    "tests/service/api/test_score.py": 2,
    "tests/service/api/test_score_streaming.py": 2,
    "tests/service/api/test_teams.py": 1,
    "tests/service/hosting/ray/test_autoscaling.py": 1,
    "tests/service/hosting/ray/test_replica.py": 5,
    "tests/service/hosting/ray/test_routing.py": 4,
    "tests/service/modes/test_modes.py": 3,
    "tests/service/observability/test_metrics.py": 1,
    "tests/service/observability/test_tracing.py": 1,
    "tests/service/scoring/test_scorer.py": 3,
    "tests/service/tenancy/on_redis.py": 2,
    "tests/service/tenancy/test_keys_cli.py": 1,
    "tests/service/tenancy/test_quota.py": 1,
    "tests/service/tenancy/test_redis_quota.py": 2,
    "tests/service/test_idempotency_faults.py": 4,
    "tests/service/test_idempotency_memory.py": 4,
    "tests/trainer_client/cli/test_results_file.py": 1,
    "tests/trainer_client/cli/test_table.py": 1,
    "tests/trainer_client/http/test_transport.py": 2,
    "tests/trainer_client/trl/test_reward.py": 1,
    "tests/trainer_client/trl/test_rollouts.py": 3,
    "tests/trainer_client/trl/test_trainer.py": 1,
    "tests/trainer_client/trl/tiny.py": 4,
    "tests/trainer_client/trl/training_run.py": 1,
    "tests/trainer_client/verl/contract/rewards.py": 3,
    "tests/trainer_client/verl/contract/rollouts.py": 1,
    "tests/trainer_client/verl/contract/settings.py": 1,
}
"""By file; a file that is not here has none. Where a number falls, lower it here."""


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private(tree: ast.AST) -> Iterator[str]:
    """Private attributes of anything but `self` and `cls`, and private names that are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            yield from (name for name in (*parts, *(one.name for one in node.names)) if _is_private(name))


def _counted() -> Counter[str]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    return Counter(
        {
            file.relative_to(ROOT).as_posix(): len([*_private(ast.parse(file.read_text(encoding="utf-8")))])
            for file in files
        }
    )


def test_no_file_reaches_for_more_private_names_than_it_did() -> None:
    counted, budget = _counted(), Counter(BUDGET)
    more, fewer = dict(counted - budget), dict(budget - counted)
    assert not more, "these files reach for more private names"
    assert not fewer, "these files reach for fewer: lower the budget"

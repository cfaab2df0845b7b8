"""Fixtures of the whole suite, what its tests need, and how they are shared out among workers."""

import os
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Read when torch is first imported, here and in every process that a test starts. Threads that wait by spinning take
# the cores from everything else: on a busy machine a test of training took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import pytest_asyncio

from testkit.redis import RedisServer

if TYPE_CHECKING:
    from service.engine.vllm.engine import VllmEngine

TESTS = Path(__file__).parent
NEEDS = {
    "vllm": (
        "e2e/test_serve_vllm.py",
        "loadtests/test_dashboards_live.py",
        "service/engine/remote/test_live.py",
        "service/engine/vllm",
    ),
    "ray": ("deploy/test_ray_configuration.py", "e2e/ray", "service/hosting/ray"),
    "browser": ("e2e/test_playground.py", "trainer_client/training/test_report.py"),
    "prometheus": ("deploy/test_alerts_fire.py", "deploy/test_rules.py", "testkit/test_prometheus.py"),
    "training": (
        "e2e/test_study.py",
        "miniature/judge/test_make.py",
        "miniature/policy/test_make.py",
        "trainer_client/training/test_train.py",
        "trainer_client/trl",
        "trainer_client/verl",
    ),
}
"""Tests that need what takes long to install or to run, by their files; `--fast` does not even import these."""
FIXTURES = {"vllm_engine": "vllm", "ray_nodes": "ray"}
"""Fixtures that are such a need, too; the tests that use one share it, in one worker."""
LONGEST = ("ray", "deploy/test_alerts_fire.py", "vllm", "trainer_client/verl/test_contract.py", "e2e/test_study.py")
"""Groups that take minutes: the workers begin with them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"without tests that need {', '.join(NEEDS)}")


def pytest_configure() -> None:
    if missing := [place for places in NEEDS.values() for place in places if not (TESTS / place).exists()]:
        raise pytest.UsageError(f"tests/conftest.py names tests that are not there: {', '.join(missing)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("fast") and _needs(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what each test needs, and groups tests for `--dist loadgroup`: those of a file, or of a shared fixture."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        shared = [need for fixture, need in FIXTURES.items() if fixture in getattr(item, "fixturenames", ())]
        for need in {*_needs(item.path), *shared}:
            item.add_marker(need)
        group = shared[0] if shared else item.path.relative_to(TESTS).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
        groups.setdefault(group, []).append(item)
    if config.getoption("fast"):
        deselected = [item for item in items if any(item.get_closest_marker(need) for need in NEEDS)]
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    if config.getoption("numprocesses", None):
        first = [item for group in LONGEST for item in groups.get(group, [])]
        items[:] = [*first, *(item for item in items if item not in first)]


def _needs(path: Path) -> list[str]:
    if not path.is_relative_to(TESTS):
        return []
    place = path.relative_to(TESTS)
    return [need for need, places in NEEDS.items() if any(place.is_relative_to(one) for one in places)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine() -> "AsyncIterator[VllmEngine]":
    """The miniature judge in a real vLLM, started once for all tests. They run in the session's loop, as it does."""
    from service.engine.build import MINIATURE
    from service.engine.vllm.engine import VllmEngine
    from service.engine.vllm.options import Options

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM's own imports do
        engine = await VllmEngine.load(str(MINIATURE), Options(kv_cache_gb=1, max_model_len=1024))
    yield engine
    await engine.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis for all tests of a worker. A test that kills or stops one starts one of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    redis_server.do("FLUSHALL")
    redis_server.do("SCRIPT", "FLUSH")
    return redis_server.url

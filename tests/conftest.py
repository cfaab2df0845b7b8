"""Fixtures of the whole suite, what its tests need, and which of them stay together in one worker."""

import gc
import os
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read when torch is first imported, here and in every process that a test starts. Threads that wait by spinning take
# the cores from everything else: on a busy machine a test of training took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from testkit.redis import RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from service.engine.vllm.engine import VllmEngine

# How long an example takes says how busy the machine is. The examples are the same in each run: a change, not chance,
# makes a test fail.
settings.register_profile(
    "unhurried",
    settings.default,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")

TESTS = Path(__file__).parent
NEEDS = {
    "vllm": (
        "e2e/test_serve_vllm.py",
        "loadtests/test_dashboards_live.py",
        "real/test_engines.py",
        "service/engine/remote/test_live.py",
        "service/engine/vllm",
    ),
    "real_judge": ("real",),
    "ray": ("deploy/ray", "e2e/ray", "service/hosting/ray"),
    "browser": (
        "e2e/test_pages_look.py",
        "e2e/test_playground.py",
        "e2e/test_playground_drawn.py",
        "e2e/test_playground_kept.py",
        "e2e/test_playground_states.py",
        "testkit/test_browser.py",
        "tools/test_docs_site.py",
        "trainer_client/agreement/test_page_in_browser.py",
        "trainer_client/training/report/test_page.py",
    ),
    "prometheus": (
        "deploy/test_alerts_fire.py",
        "deploy/test_compose_commands.py",
        "deploy/test_rules.py",
        "testkit/test_prometheus.py",
    ),
    "training": (
        "e2e/test_distill.py",
        "e2e/test_study.py",
        "e2e/test_tutorial.py",
        "miniature/judge/test_make.py",
        "miniature/policy/test_make.py",
        "real/test_training.py",
        "trainer_client/training/test_demonstrations.py",
        "trainer_client/training/test_loops.py",
        "trainer_client/distillation/test_run.py",
        "trainer_client/distillation/test_training.py",
        "trainer_client/training/test_train.py",
        "trainer_client/trl",
        "trainer_client/verl",
    ),
}
"""Tests that need what takes long to install or to run, by their files; `--fast` does not even import these."""
TOGETHER = {
    "ray": ("e2e/ray",),
    "real_judge": ("real",),
    "vllm": (
        "e2e/test_sizing.py",
        "service/engine/vllm/test_engine.py",
        "service/engine/vllm/test_engine_killed.py",
    ),
}
"""Files that share what takes long to start: one worker runs them all. Elsewhere a file stays together."""
LONGEST = (
    "e2e/ray",
    "real",
    "deploy/test_alerts_fire.py",
    "e2e/test_sizing.py",
    "service/engine/vllm/test_engine.py",
    "service/engine/vllm/test_engine_killed.py",
    "trainer_client/verl/test_contract.py",
    "e2e/test_study.py",
    "e2e/test_tutorial.py",
)
"""What takes minutes: the workers begin with it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"without tests that need {', '.join(NEEDS)}")


def pytest_configure() -> None:
    if missing := [
        place
        for places in (*NEEDS.values(), *TOGETHER.values(), LONGEST)
        for place in places
        if not (TESTS / place).exists()
    ]:
        raise pytest.UsageError(f"tests/conftest.py names tests that are not there: {', '.join(missing)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("fast") and _needs(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what each test needs. In a worker, what takes longest comes first."""
    for item in items:
        needs = [*_needs(item.path), *(["vllm"] if "vllm_engine" in getattr(item, "fixturenames", ()) else [])]
        for need in needs:
            item.add_marker(need)
    if config.getoption("fast"):
        deselected = [item for item in items if any(item.get_closest_marker(need) for need in NEEDS)]
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((n for n, one in enumerate(LONGEST) if _below(item.path, one)), len(LONGEST)))


def pytest_collection_finish() -> None:
    """A full collection by the garbage collector looks at what the tests make, not at the million objects of the
    modules that they import: it took 0.9 s of processor time, and each local engine that stops asks for one."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may hold half a character, which a worker could not send."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One that keeps the tests of a file together. (xdist's own `loadgroup` finds no groups under pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = config.rootpath / nodeid.partition("::")[0]
            shared = (group for group, places in TOGETHER.items() if any(_below(path, place) for place in places))
            return next(shared, str(path))

    return ByFile(config, log)


def _needs(path: Path) -> list[str]:
    return [need for need, places in NEEDS.items() if any(_below(path, place) for place in places)]


def _below(path: Path, place: str) -> bool:
    return path.is_relative_to(TESTS / place)


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


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real Chromium for the tests of a module, none of which is async: see `testkit.browser`."""
    from testkit.browser import chromium

    with chromium() as running:
        yield running


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

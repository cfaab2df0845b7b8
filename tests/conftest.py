"""Fixtures of the whole suite."""

import warnings
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from service.engine.build import MINIATURE
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import Options
from testkit.redis import RedisServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine() -> AsyncIterator[VllmEngine]:
    """The miniature judge in a real vLLM, started once for all tests. They run in the session's loop, as it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM's own imports do
        engine = await VllmEngine.load(str(MINIATURE), Options(kv_cache_gb=1, max_model_len=1024))
    yield engine
    await engine.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis for all tests. Who kills or stops one starts one of their own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    redis_server.do("FLUSHALL")
    redis_server.do("SCRIPT", "FLUSH")
    return redis_server.url

"""Fixtures of the whole suite."""

import warnings
from collections.abc import AsyncIterator

import pytest_asyncio

from service.engine.build import MINIATURE
from service.engine.vllm import VllmEngine
from service.engine.vllm_options import Options


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine() -> AsyncIterator[VllmEngine]:
    """The miniature judge in a real vLLM, started once for all tests. They run in the session's loop, as it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM's own imports do
        engine = await VllmEngine.load(str(MINIATURE), Options(kv_cache_gb=1, max_model_len=1024))
    yield engine
    await engine.stop()

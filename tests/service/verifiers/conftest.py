"""Rule pools for tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from service.settings import RuleSettings
from service.verifiers.pool import RulePool
from testkit.waiting import HUNG_S


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[RulePool]:
    """Its checks may take longer than a healthy check needs on a busy machine."""
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=HUNG_S))
    yield pool
    await pool.stop()


@pytest_asyncio.fixture
async def impatient() -> AsyncIterator[RulePool]:
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=2))
    yield pool
    await pool.stop()

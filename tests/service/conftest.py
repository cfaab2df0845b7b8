"""Fixtures of the service's tests."""

from collections.abc import Iterator

import pytest

from testkit.trace_collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector

"""The servers that the tests of connections share, once on each event loop."""

from collections.abc import Iterator

import pytest

from tests.service.http.serving import LOOPS, UNHURRIED, Served, served


@pytest.fixture(params=sorted(LOOPS), scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One that gives a slow caller all the time that it needs."""
    with served(request.param, **UNHURRIED) as running:
        yield running


@pytest.fixture(params=sorted(LOOPS), scope="module")
def hasty(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One that gives a slow caller 0.4 s."""
    with served(request.param) as running:
        yield running

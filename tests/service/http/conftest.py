"""The server that the tests of connections share, once on each event loop."""

from collections.abc import Iterator

import pytest

from tests.service.http.serving import LOOPS, Served, served


@pytest.fixture(params=sorted(LOOPS), scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(request.param) as running:
        yield running

from collections.abc import Iterator

import pytest

from testkit.processes import Running, service


@pytest.fixture(scope="session")
def bundled() -> Iterator[Running]:
    """The service as `make serve` starts it: engine local, the bundled judge."""
    with service() as running:
        yield running

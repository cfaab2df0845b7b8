"""A scripted judge for a training to be planned with."""

from collections.abc import Iterator

import pytest

from testkit.scripted_judge import Service, served


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with served(service) as url:
        yield url

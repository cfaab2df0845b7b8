"""Tests of the limits: what the settings say, less what files need."""

import logging

import pytest

from service.http.limits import connection_limits
from service.settings import Settings


def test_they_are_those_of_the_settings() -> None:
    settings = Settings(max_connections=100, max_connections_per_client=10, max_body_bytes=7, header_timeout_s=3)
    limits = connection_limits(settings, settings, 10_000)
    assert (limits.connections, limits.connections_per_client, limits.unread_bytes) == (100, 10, 7)
    assert limits.header_s == 3


@pytest.mark.parametrize(("descriptors", "most"), [(1024, 768), (300, 44), (64, 1)])
def test_connections_leave_descriptors_for_files(descriptors: int, most: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rubricd"):
        limits = connection_limits(Settings(), Settings(), descriptors)
    assert limits.connections == most and limits.connections_per_client <= most
    assert f"takes {most} connections" in caplog.text

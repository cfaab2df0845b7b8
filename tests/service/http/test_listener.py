"""Tests of where the service listens, with both versions of IP."""

import socket

import pytest

from service.errors import ConfigurationError
from service.http.listener import authority, is_loopback, open_listener, url_of
from testkit.waiting import HUNG_S


@pytest.mark.parametrize(
    ("host", "reached", "url"),
    [
        ("127.0.0.1", ["127.0.0.1"], "http://127.0.0.1:"),
        ("localhost", ["127.0.0.1"], "http://127.0.0.1:"),
        ("::1", ["::1"], "http://[::1]:"),
        ("::", ["::1", "127.0.0.1"], "http://[::]:"),
        ("0.0.0.0", ["127.0.0.1"], "http://0.0.0.0:"),
    ],
)
def test_it_listens_with_ipv4_and_ipv6(host: str, reached: list[str], url: str) -> None:
    with open_listener(host, 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"{url}{port}"
        for address in reached:
            socket.create_connection((address, port), timeout=HUNG_S).close()


@pytest.mark.parametrize(
    ("host", "why"), [("127.0.0.1", "in use"), ("192.0.2.1", "assign"), ("no.such.host.invalid", "not known")]
)
def test_what_is_in_the_way_is_said_in_one_line(host: str, why: str) -> None:
    with open_listener("127.0.0.1", 0) as taken, pytest.raises(ConfigurationError) as raised:
        open_listener(host, taken.getsockname()[1], "metrics_port")
    said = str(raised.value)
    assert why in said.lower() and "`metrics_port` or `metrics_host`" in said and "\n" not in said


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert (authority("::1", 80), authority("judge", 80)) == ("[::1]:80", "judge:80")


def test_loopback_is_an_address_or_localhost() -> None:
    assert [is_loopback(host) for host in ("127.8.9.10", "::1", "localhost", "::", "judge", "")] == [True] * 3 + [
        False
    ] * 3

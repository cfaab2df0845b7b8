"""Tests of one connection on raw sockets: a request that is too large or too slow ends."""

import json
import time

import pytest

from testkit.waiting import HUNG_S, wait_until
from tests.service.http.serving import (
    BIG,
    LIMITS,
    UNHURRIED,
    Served,
    connected,
    head,
    read_all,
    read_answer,
    served,
    statuses,
)

# What is too large.


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(head("GET", "/echo", *["A: 1"] * LIMITS.headers), id="too many headers"),
        pytest.param(head("GET", "/echo", *[f"A{n}: {'x' * 400}" for n in range(12)]), id="headers too large together"),
        pytest.param(head("GET", "/echo", "A: " + "x" * 5000), id="a header too large"),
        pytest.param(head("GET", "/" + "x" * 5000), id="an address too large"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"x" * 600_000, id="a header without an end"),
        pytest.param(b"GET /" + b"x" * 600_000, id="an address without an end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 100_000, id="headers without an end"),
        pytest.param(
            head("POST", "/hold", "Transfer-Encoding: chunked") + b"1;" + b"x" * 600_000, id="a chunk's extension"
        ),
        pytest.param(
            head("POST", "/hold", "Transfer-Encoding: chunked") + b"0\r\nA: " + b"x" * 600_000, id="a trailer"
        ),
        pytest.param(
            head("POST", "/hold", "Transfer-Encoding: chunked") + b"0\r\n" + b"A: 1\r\n" * 1000, id="many trailers"
        ),
    ],
)
def test_a_head_that_is_too_large_is_refused_in_words(server: Served, sent: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert statuses(answer) == [431]
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["status"] == 431 and "too many or too large" in problem["detail"] and problem["request_id"]
    assert b"xxxx" not in answer


@pytest.mark.parametrize("before", [b"", head(), head("POST", "/echo", "Content-Length: 9") + b"x" * 9])
def test_a_header_that_is_not_whole_is_not_kept_beyond_the_limit(server: Served, before: bytes) -> None:
    """Not even what came at once, after requests that were fine."""
    with connected(server) as connection:
        connection.sendall(before + b"GET / HTTP/1.1\r\nA: " + b"x" * (LIMITS.header_bytes + 1500))
        answer = read_all(connection)
    assert statuses(answer) in ([431], [200, 431], [200])


def test_pipelined_bodies_do_not_count_as_headers(server: Served) -> None:
    body = b"x" * 20_000
    sent = b"".join(head("POST", f"/{n}", "Content-Length: 20000") + body for n in range(8)) + head("GET", "/z")
    with connected(server) as connection:
        connection.sendall(sent[:-2])
        time.sleep(0.1)
        connection.sendall(sent[-2:])
        assert [read_answer(connection)[0] for _ in range(9)] == [200] * 9


def test_a_pipelined_body_that_stops_coming_ends_the_connection_after_the_answer_before(hasty: Served) -> None:
    hasty.go.clear()
    with connected(hasty) as connection:
        connection.sendall(head("POST", "/hold") + head("POST", "/echo", "Content-Length: 9") + b"some")
        time.sleep(2 * LIMITS.stall_s)
        hasty.go.set()
        assert statuses(read_all(connection)) == [200, 408]


def test_a_pipelined_body_that_cannot_be_read_ends_the_connection_after_the_answer_before(hasty: Served) -> None:
    hasty.go.clear()
    with connected(hasty) as connection:
        connection.sendall(head("POST", "/hold") + head("POST", "/echo", "Transfer-Encoding: chunked") + b"zz\r\n")
        time.sleep(0.1)
        hasty.go.set()
        assert statuses(read_all(connection)) == [200, 408]


def test_400_megabytes_of_headers_are_not_taken(server: Served) -> None:
    taken = 0
    with connected(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        for _ in range(400):
            connection.sendall(b"x" * (1 << 20))
            taken += 1
    assert taken < 40


# What is too slow.


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", head()[:-2], b"\r\n"])
def test_headers_that_stop_coming_end_the_connection(hasty: Served, sent: bytes) -> None:
    with connected(hasty) as connection:
        began_s = time.monotonic()
        connection.sendall(sent)
        answer = read_all(connection)
    assert statuses(answer) == ([408] if sent.strip() else [])
    assert time.monotonic() - began_s > LIMITS.header_s * 0.7


def test_headers_that_trickle_in_have_no_more_time(hasty: Served) -> None:
    with connected(hasty) as connection:
        began_s = time.monotonic()
        connection.settimeout(0.02)
        connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        answer = b""
        while not answer:
            assert time.monotonic() - began_s < HUNG_S
            try:
                connection.sendall(b"x")
                answer = connection.recv(4096)
            except TimeoutError:
                continue
    assert statuses(answer) == [408]


@pytest.mark.parametrize("before", [b"", head()])
def test_a_connection_without_a_request_is_closed(hasty: Served, before: bytes) -> None:
    with connected(hasty) as connection:
        began_s = time.monotonic()
        connection.sendall(before)
        assert statuses(read_all(connection)) == ([200] if before else [])
    assert time.monotonic() - began_s > LIMITS.idle_s * 0.7


def test_a_body_that_stops_coming_ends_the_request(hasty: Served) -> None:
    left = hasty.left["echo"]
    with connected(hasty) as connection:
        began_s = time.monotonic()
        connection.sendall(head("POST", "/echo", "Content-Length: 1000") + b"some")
        assert statuses(read_all(connection)) == [408]
    assert time.monotonic() - began_s > LIMITS.stall_s * 0.7
    wait_until(lambda: hasty.left["echo"] == left + 1)


def test_a_body_that_trickles_in_ends_the_request(hasty: Served) -> None:
    """A byte each 20 ms is 50 a second, and 10,000 are wanted."""
    with connected(hasty) as connection:
        connection.sendall(head("POST", "/echo", "Content-Length: 1000000"))
        began_s = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began_s < HUNG_S:
                connection.sendall(b"x")
                time.sleep(0.02)


def test_a_body_at_the_rate_may_take_longer_than_the_timeout() -> None:
    with served(**UNHURRIED | {"stall_s": 1.0}) as server, connected(server) as connection:
        connection.sendall(head("POST", "/echo", "Content-Length: 1500000"))
        began_s = time.monotonic()
        for _ in range(75):
            connection.sendall(b"x" * 20_000)  # a hundred times the rate, for a busy machine
            time.sleep(0.02)
        assert time.monotonic() - began_s > 1.5
        assert read_answer(connection)[0] == 200


def test_an_answer_that_is_not_read_ends_the_connection(hasty: Served) -> None:
    before = hasty.closed["answer_unread"]
    with connected(hasty) as connection:
        connection.sendall(head("GET", "/big"))
        wait_until(lambda: hasty.closed["answer_unread"] == before + 1)
        assert len(read_all(connection)) < BIG


def test_an_answer_that_is_closed_and_not_read_ends_the_connection(hasty: Served) -> None:
    before = hasty.closed["answer_unread"]
    with connected(hasty) as connection:
        connection.sendall(head("GET", "/big", "Connection: close"))
        wait_until(lambda: hasty.closed["answer_unread"] == before + 1)


def test_an_answer_that_is_read_slowly_but_at_the_rate_is_read_whole() -> None:
    found = 0
    with served(**UNHURRIED | {"stall_s": 1.0}) as server, connected(server) as connection:
        connection.sendall(head("GET", "/big", "Connection: close"))
        began_s = time.monotonic()
        while data := connection.recv(1 << 19):
            found += len(data)
            if time.monotonic() - began_s < 2.0:
                time.sleep(0.05)
    assert found > BIG

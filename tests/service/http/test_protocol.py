"""Tests of one connection on raw sockets: what is too large or too slow ends, and HTTP/1.1 as the world speaks it."""

import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.service.http.serving import (
    BIG,
    LIMITS,
    LOOPS,
    Served,
    connected,
    head,
    read_all,
    read_answer,
    served,
    statuses,
)


@pytest.fixture(params=sorted(LOOPS), scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(request.param) as running:
        yield running


def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


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
        began_s = time.monotonic()
        answer = read_all(connection)
    assert statuses(answer) in ([431], [200, 431], [200])
    assert time.monotonic() - began_s < LIMITS.header_s + LIMITS.idle_s


def test_pipelined_bodies_do_not_count_as_headers(server: Served) -> None:
    body = b"x" * 20_000
    sent = b"".join(head("POST", f"/{n}", "Content-Length: 20000") + body for n in range(8)) + head("GET", "/z")
    with connected(server) as connection:
        connection.sendall(sent[:-2])
        time.sleep(0.1)
        connection.sendall(sent[-2:])
        assert [read_answer(connection)[0] for _ in range(9)] == [200] * 9


def test_a_pipelined_body_that_stops_coming_ends_the_connection_after_the_answer_before(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold") + head("POST", "/echo", "Content-Length: 9") + b"some")
        time.sleep(2 * LIMITS.stall_s)
        server.go.set()
        assert statuses(read_all(connection)) == [200, 408]


def test_a_pipelined_body_that_cannot_be_read_ends_the_connection_after_the_answer_before(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold") + head("POST", "/echo", "Transfer-Encoding: chunked") + b"zz\r\n")
        time.sleep(0.1)
        server.go.set()
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
def test_headers_that_stop_coming_end_the_connection(server: Served, sent: bytes) -> None:
    with connected(server) as connection:
        began_s = time.monotonic()
        connection.sendall(sent)
        answer = read_all(connection)
    assert statuses(answer) == ([408] if sent.strip() else [])
    assert LIMITS.header_s * 0.7 < time.monotonic() - began_s < LIMITS.header_s + 2


def test_headers_that_trickle_in_have_no_more_time(server: Served) -> None:
    with connected(server) as connection:
        began_s = time.monotonic()
        connection.settimeout(0.02)
        connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        answer = b""
        while not answer:
            assert time.monotonic() - began_s < LIMITS.header_s + 2
            try:
                connection.sendall(b"x")
                answer = connection.recv(4096)
            except TimeoutError:
                continue
    assert statuses(answer) == [408]


@pytest.mark.parametrize("before", [b"", head()])
def test_a_connection_without_a_request_is_closed(server: Served, before: bytes) -> None:
    with connected(server) as connection:
        began_s = time.monotonic()
        connection.sendall(before)
        assert statuses(read_all(connection)) == ([200] if before else [])
    assert LIMITS.idle_s * 0.7 < time.monotonic() - began_s < LIMITS.idle_s + 2


def test_a_body_that_stops_coming_ends_the_request(server: Served) -> None:
    left = server.left["echo"]
    with connected(server) as connection:
        began_s = time.monotonic()
        connection.sendall(head("POST", "/echo", "Content-Length: 1000") + b"some")
        assert statuses(read_all(connection)) == [408]
    assert LIMITS.stall_s * 0.7 < time.monotonic() - began_s < LIMITS.stall_s + 2
    until(lambda: server.left["echo"] == left + 1)


def test_a_body_that_trickles_in_ends_the_request(server: Served) -> None:
    """A byte each 20 ms is 50 a second, and 10,000 are wanted."""
    with connected(server) as connection:
        connection.sendall(head("POST", "/echo", "Content-Length: 1000000"))
        began_s = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began_s < LIMITS.stall_s + 3:
                connection.sendall(b"x")
                time.sleep(0.02)


def test_a_body_at_the_rate_may_take_longer_than_the_timeout(server: Served) -> None:
    with connected(server) as connection:
        connection.sendall(head("POST", "/echo", "Content-Length: 160000"))
        began_s = time.monotonic()
        for _ in range(40):
            connection.sendall(b"x" * 4000)  # four times the rate, for a busy machine
            time.sleep(0.02)
        assert time.monotonic() - began_s > 1.5 * LIMITS.stall_s
        assert read_answer(connection)[0] == 200


def test_an_answer_that_is_not_read_ends_the_connection(server: Served) -> None:
    before = server.closed["answer_unread"]
    with connected(server) as connection:
        connection.sendall(head("GET", "/big"))
        until(lambda: server.closed["answer_unread"] == before + 1)
        assert len(read_all(connection)) < BIG


def test_an_answer_that_is_closed_and_not_read_ends_the_connection(server: Served) -> None:
    before = server.closed["answer_unread"]
    with connected(server) as connection:
        connection.sendall(head("GET", "/big", "Connection: close"))
        until(lambda: server.closed["answer_unread"] == before + 1)


def test_an_answer_that_is_read_slowly_but_at_the_rate_is_read_whole(server: Served) -> None:
    found = 0
    with connected(server) as connection:
        connection.sendall(head("GET", "/big", "Connection: close"))
        began_s = time.monotonic()
        while data := connection.recv(1 << 19):
            found += len(data)
            if time.monotonic() - began_s < 3 * LIMITS.stall_s:
                time.sleep(0.05)
    assert found > BIG


# HTTP as the world speaks it.


@pytest.mark.parametrize("framed", ["length", "chunked", "empty"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_body_beside_a_wish_for_http_2_is_not_dropped(server: Served, framed: str, step: int) -> None:
    """As Java's HttpClient and `curl --http2` send it, in one piece or many; the connection goes on afterwards."""
    framing, body = {
        "length": (["Content-Length: 5"], b"hello"),
        "chunked": (["Transfer-Encoding: chunked"], b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        "empty": ([], b""),
    }[framed]
    upgrade = ["Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAA", "Upgrade: h2c"]
    sent = (head("POST", "/echo", *framing, *upgrade) + body) * 2 + head("GET", "/last", "Connection: close")
    with connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
        answers = read_all(connection)
    assert statuses(answers) == [200, 200, 200]
    assert answers.count(b"POST /echo " + (b"hello" if body else b"")) == 2 and answers.endswith(b"GET /last ")


def test_a_wish_for_a_websocket_is_answered_as_a_request(server: Served) -> None:
    with connected(server) as connection:
        connection.sendall(head("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket"))
        assert read_answer(connection) == (200, b"GET /chat ")


@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        head("POST", "/echo", "Content-Length: 5", "Content-Length: 6"),
        head("POST", "/echo", "Content-Length: 5", "Transfer-Encoding: chunked"),
        head("GET", "/\xe9"),
    ],
)
def test_what_is_no_request_is_told_so(server: Served, sent: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert statuses(answer) == [400]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:rubricd:problem:malformed"


def test_a_caller_that_shuts_its_sending_side_gets_its_answer(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold", "Content-Length: 2") + b"hi")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        server.go.set()
        answer = read_all(connection)
    assert statuses(answer) == [100, 200] and answer.endswith(b"held")


def test_pipelined_requests_before_the_end_of_data_are_all_answered(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold") + head("GET", "/a") + head("GET", "/b"))
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        server.go.set()
        answer = read_all(connection)
    assert statuses(answer) == [100, 200, 200, 200] and answer.endswith(b"GET /b ")


def test_a_caller_that_leaves_is_noticed_200_of_200(server: Served) -> None:
    """Each closes its socket while its request is worked on."""
    server.go.clear()
    before, held = server.left["hold"], server.held
    for n in range(0, 200, 20):
        callers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for caller in callers:
            caller.sendall(head("POST", "/hold", "Content-Length: 2") + b"hi")
        until(lambda n=n: server.held == held + n + 20)  # type: ignore[misc]
        for caller in callers:
            caller.close()
        until(lambda n=n: server.left["hold"] == before + n + 20, 3.0)  # type: ignore[misc]


@pytest.mark.parametrize(("path", "version"), [("/stream", "1.1"), ("/hold", "1.0")])
def test_a_caller_that_leaves_where_nothing_can_be_asked_is_noticed(server: Served, path: str, version: str) -> None:
    server.go.clear()
    before, held = server.left.total(), server.held
    with connected(server) as connection:
        connection.sendall(head("POST", path, "Content-Length: 0").replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        if path == "/stream":
            assert b"200" in connection.recv(12)
        else:
            until(lambda: server.held == held + 1)
    until(lambda: server.left.total() == before + 1)


def test_a_body_is_asked_for_with_100_continue(server: Served) -> None:
    with connected(server) as connection:
        connection.sendall(head("POST", "/echo", "Content-Length: 2", "Expect: 100-continue"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert read_answer(connection) == (200, b"POST /echo hi")


def test_pipelined_requests_are_answered_in_order(server: Served) -> None:
    with connected(server) as connection:
        connection.sendall(b"".join(head("POST", f"/{n}", "Content-Length: 1") + b"x" for n in range(20)))
        assert [read_answer(connection) for _ in range(20)] == [(200, f"POST /{n} x".encode()) for n in range(20)]


def test_what_cannot_be_read_after_a_request_leaves_it_its_answer(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold") + b"no request\r\n\r\n")
        time.sleep(0.1)
        server.go.set()
        answer = read_all(connection)
    assert statuses(answer) == [200] and answer.endswith(b"held")


def test_a_thousand_pipelined_requests_are_too_many(server: Served) -> None:
    server.go.clear()
    with connected(server) as connection:
        connection.sendall(head("POST", "/hold") * 1000)
        server.go.set()
        assert len(statuses(read_all(connection))) <= 40


def test_a_refusal_before_the_body_can_be_read_and_the_connection_used_again(server: Served) -> None:
    with connected(server) as connection:
        connection.sendall(head("POST", "/refuse", "Content-Length: 500000"))
        assert read_answer(connection) == (413, b"no")
        connection.sendall(b"x" * 500_000 + head())
        assert read_answer(connection) == (200, b"GET /echo ")


@pytest.mark.parametrize("connection_header", ["keep-alive", "close"])
def test_a_refusal_is_read_by_who_sends_the_whole_body_first(server: Served, connection_header: str) -> None:
    with connected(server) as connection:
        size = LIMITS.unread_bytes - 1
        connection.sendall(head("POST", "/refuse", f"Content-Length: {size}", f"Connection: {connection_header}"))
        time.sleep(0.05)
        connection.sendall(b"x" * size)
        assert read_answer(connection) == (413, b"no")


def test_a_body_without_an_end_is_not_taken_after_the_answer(server: Served) -> None:
    taken = 0
    with connected(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(head("POST", "/refuse", "Transfer-Encoding: chunked"))
        for _ in range(400):
            connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
            taken += 1
    assert taken < 40

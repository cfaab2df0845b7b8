"""Tests of one connection on raw sockets: HTTP/1.1 as the world speaks it."""

import json
import socket
import time

import pytest

from testkit.waiting import wait_until
from tests.service.http.serving import (
    LIMITS,
    Served,
    connected,
    head,
    read_all,
    read_answer,
    statuses,
)


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
        wait_until(lambda n=n: server.held == held + n + 20)  # type: ignore[misc]
        for caller in callers:
            caller.close()
        wait_until(lambda n=n: server.left["hold"] == before + n + 20)  # type: ignore[misc]


@pytest.mark.parametrize(("path", "version"), [("/stream", "1.1"), ("/hold", "1.0")])
def test_a_caller_that_leaves_where_nothing_can_be_asked_is_noticed(server: Served, path: str, version: str) -> None:
    server.go.clear()
    before, held = server.left.total(), server.held
    with connected(server) as connection:
        connection.sendall(head("POST", path, "Content-Length: 0").replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        if path == "/stream":
            assert b"200" in connection.recv(12)
        else:
            wait_until(lambda: server.held == held + 1)
    wait_until(lambda: server.left.total() == before + 1)


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

"""The end of a connection: one answer for each request, and no fault of a socket that ends more than itself."""

import asyncio
from collections import Counter
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http.connection_table import ConnectionTable
from service.http.protocol import LimitedProtocol
from testkit.waiting import HUNG_S
from tests.service.http.serving import LIMITS, LOOPS, Served, connected, head, read_all, read_answer, served


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_a_body_that_stops_after_its_answer_gets_no_second_one(loop: str) -> None:
    with served(loop, header_s=HUNG_S, idle_s=HUNG_S) as server:
        with connected(server) as connection:
            connection.sendall(head("POST", "/refuse", "Content-Length: 100000") + b"some")
            assert read_answer(connection) == (413, b"no")
            assert read_all(connection) == b""
        assert server.closed == {"body_too_slow": 1}


def test_a_body_that_is_none_any_more_after_its_answer_gets_no_second_one(server: Served) -> None:
    before = server.closed["malformed"]
    with connected(server) as connection:
        connection.sendall(head("POST", "/refuse", "Transfer-Encoding: chunked") + b"4\r\nsome\r\n")
        assert read_answer(connection) == (413, b"no")
        connection.sendall(b"zz\r\n")
        assert read_all(connection) == b""
    assert server.closed["malformed"] == before + 1


class _Reset(asyncio.Transport):
    """A socket that its caller has reset, before the event loop has seen it."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: Any) -> None:
        pass

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


async def test_a_connection_that_was_reset_ends_without_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    counted: Counter[str] = Counter()
    table = ConnectionTable(LIMITS, lambda reason: counted.update([reason]))
    config = uvicorn.Config(app, ws="none", log_config=None)
    config.load()
    protocol, transport = LimitedProtocol(config, ServerState(), {}, table=table), _Reset()
    protocol.connection_made(transport)
    protocol.data_received(b"POST / HTTP/1.1\r\nA: b")
    await table.check(protocol.due_s)
    assert (transport.aborted, len(table), counted) == (True, 0, {"headers_too_slow": 1})

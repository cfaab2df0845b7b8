"""Speaks HTTP/1.1 on one connection: uvicorn's httptools protocol, within limits of size and time.

Guarantees: headers, bodies and answers that are too large or too slow end their connection, whoever sends them. A
request that asks for another protocol (`Upgrade: h2c`) is answered in this one, with its body. A caller that shuts its
sending side after a request gets the answer; one that has left is noticed all the same.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.caller import ReadingPace, has_left
from service.http.connection_table import ConnectionTable
from service.http.head_limit import HeadLimit
from service.http.lingering import Lingering
from service.http.messages import head_without_upgrade, refusal

_MOST_PIPELINED = 32
_LAST_LINGER_S = 1.0  # of a process that ends
_ROUND_TRIP_S = 0.02  # by then a caller that has left has answered with a reset
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refused(Exception):
    """A parser's callback ends the parsing with this; `args` has the reason."""


@dataclass(frozen=True, slots=True)
class _Output:
    """The transport as an answer sees it: closing it lets the caller read the answer first."""

    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]
    close: Callable[[], None]


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `due_s` is when its step has taken too long: the headers, the body, the next request, or the end
    of a connection that is to close. While a request is worked on nothing is due."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.host = ""
        self.due_s = math.inf
        self.finished = False
        self._table = table
        self._limits = table.limits
        self._active: RequestResponseCycle | None = None
        self._reason = ""
        self._head = HeadLimit(table.limits.header_bytes)
        self._unread_bytes = table.limits.unread_bytes
        self._lingering: Lingering | None = None
        self._pace = ReadingPace(table.limits)

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._output = _Output(transport.write, self._is_closing, self.finish)
        self.host = self.client[0] if self.client else ""
        if reason := self._table.admit(self):
            self._answer(reason)
            self.finish(linger=self._table.may_linger(self))
        else:
            self._await_request(self._limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.remove(self)
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.finished:
            self._discard(len(data))
            return
        while True:
            self._head.begin_data()
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self._end("malformed")
                    return
                data = self._without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._end(self._reason or "malformed")
                return
            else:
                break
        if not self._head.end_data(len(data)):
            self._end("headers_too_large")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns whether the connection stays open for the answer.

        A caller that has left looks the same. It answers to more data with a reset, so it gets the one interim answer
        that every client of HTTP/1.1 has to pass over. Within an answer there is none, and HTTP/1.0 knows none.
        """
        active = self._active
        if self.finished or active is None or active.response_complete or active.response_started:
            return False
        if self.cycle.more_body or self.cycle.scope["http_version"] != "1.1":
            return False
        self.cycle.keep_alive = False
        self.transport.write(_CONTINUE)
        self._table.half_closed.add(self)
        self.loop.call_later(_ROUND_TRIP_S, self.check_caller)
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.finished:
            self._table.writing.discard(self)

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head.begin_head()
        if self._active is None or self._active.response_complete:
            self.due_s = self.loop.time() + self._limits.header_s

    def on_url(self, url: bytes) -> None:
        self._take_head(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._take_head(len(name) + len(value) + 4)
        if len(self.headers) >= self._limits.headers:
            self._refuse("headers_too_large")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # it is parsed again, without
            return
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._refuse("malformed")
        self._head.end_head()
        super().on_headers_complete()
        self.cycle.transport = self._output  # type: ignore[assignment]
        self._table.works(self)
        self.due_s = self.loop.time() + self._limits.stall_s

    def on_chunk_header(self) -> None:
        self._head.take_body()

    def on_body(self, body: bytes) -> None:
        self._head.take_body(len(body))
        limits, cycle = self._limits, self.cycle
        self.due_s = min(self.due_s + len(body) / limits.bytes_per_s, self.loop.time() + limits.stall_s)
        if cycle.response_complete:
            self._unread_bytes -= len(body)
            if self._unread_bytes < 0:
                self._refuse("body_unread")
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._head.take_body()
        if self.parser.should_upgrade():
            return
        self.cycle.more_body = False
        if self.cycle.response_complete:
            self._await_request(self._limits.idle_s)
            return
        self.due_s = math.inf
        self.cycle.message_event.set()

    # What uvicorn decides.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.cycle.more_body:  # refused before its body had come: the rest is taken, within limits
            self._unread_bytes = self._limits.unread_bytes
            self.due_s = self.loop.time() + self._limits.stall_s
        else:
            self._await_request(self._limits.header_s if self._head.in_head else self._limits.idle_s)

    def shutdown(self) -> None:
        if self.finished:
            self.due_s = min(self.due_s, self.loop.time() + _LAST_LINGER_S)
        elif self._active is None or self._active.response_complete:
            self.finish()
        else:
            self.cycle.keep_alive = False

    # The end of a connection.

    def finish(self, linger: bool = False) -> None:
        """Closes the connection once what was written is sent, and once the caller has stopped sending, within limits:
        else it would get a reset connection in place of the answer."""
        if self.finished:
            return
        self.finished = True
        self._table.works(self)
        if linger or (self.cycle is not None and self.cycle.more_body):
            self.flow.resume_reading()
            self._lingering = Lingering(self._limits, self.loop.time())
            self.due_s = self._lingering.due_s
            if not self.transport.is_closing():
                try:
                    self.transport.write_eof()
                except OSError:  # asyncio's own loop: the caller has reset the connection, which nobody has seen yet
                    self.abort()
                    return
        else:
            self.due_s = math.inf
            self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def expire(self) -> None:
        if self.finished:
            self.abort()
        elif self._head.in_head:
            self._end("headers_too_slow")
        elif self.cycle is not None and self.cycle.more_body:
            if self.flow.read_paused:  # the service is slow, not the caller
                self.due_s = self.loop.time() + self._limits.stall_s
            else:
                self._end("body_too_slow")
        elif self.transport.get_write_buffer_size():
            self._table.count("answer_unread")
            self.abort()
        else:
            self.finish()

    def check_writing(self, now_s: float) -> None:
        if self._pace.too_slow(self.transport.get_write_buffer_size(), now_s):
            self._table.count("answer_unread")
            self.abort()

    def check_caller(self) -> None:
        if self.transport.is_closing() or self not in self._table.half_closed:
            return
        if has_left(self.transport):
            self.abort()

    def abort(self) -> None:
        self._table.remove(self)  # at once: the transport says only later that the connection is lost
        self.transport.abort()

    # Parts of the above.

    def _is_closing(self) -> bool:
        return self.finished or self.transport.is_closing()

    def _await_request(self, seconds: float) -> None:
        self._table.waits(self)
        self.due_s = self.loop.time() + seconds

    def _take_head(self, size: int) -> None:
        if not self._head.take_head(size):
            self._refuse("headers_too_large")

    def _refuse(self, reason: str) -> None:
        self._reason = reason
        raise Refused(reason)

    def _end(self, reason: str) -> None:
        """Ends the connection for what was sent last. Answers before it are still written."""
        self._table.count(reason)
        active = self._active
        if active is None or active.response_complete:
            if self.cycle is None or not self.cycle.more_body:  # else that request has its answer, before its body
                self._answer(reason)
        elif active is not self.cycle or not active.more_body:  # a further request: the one before gets its answer
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            self.due_s = self.loop.time() + self._limits.stall_s if self.cycle.more_body else math.inf
            return
        elif active.response_started:
            self.abort()
            return
        else:
            self._answer(reason)
            active.disconnected = True
            active.message_event.set()
        self.finish(linger=True)

    def _answer(self, reason: str) -> None:
        if answer := refusal(reason, self.server_state.default_headers):
            self.transport.write(answer)

    def _discard(self, size: int) -> None:
        if (lingering := self._lingering) is not None:
            if not lingering.take(size, self.loop.time()):
                self.abort()
            self.due_s = lingering.due_s

    def _watch_writing(self) -> None:
        self._pace.begin(self.transport.get_write_buffer_size(), self.loop.time())
        self._table.writing.add(self)

    def _without_upgrade(self) -> bytes:
        """The head that was just parsed, without its wish for another protocol, and a new parser for it."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head_without_upgrade(method, self.url, version, self.headers)

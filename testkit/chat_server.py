"""Serves a chat endpoint on a real socket, in a thread, whose answers are those of a function.

def answer(asked): return f"you said {asked.last}"

with chat_server(answer) as server:
    run("--model-url", server.url, "--model", "any")
"""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `number` counts requests from 0; headers have small letters."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    number: int

    @property
    def messages(self) -> Sequence[Mapping[str, str]]:
        messages: Sequence[Mapping[str, str]] = self.body["messages"]
        return messages

    @property
    def last(self) -> str:
        """The text of the last turn."""
        return self.messages[-1]["content"]

    @property
    def n(self) -> int:
        return int(self.body.get("n", 1))


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it goes over the wire: a refusal, or something that no chat endpoint answers. `hang_up` closes the
    connection after half of it."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


Answer = Callable[[Asked], str | Sequence[str] | Raw]
"""One text for all choices, a text for each, or what goes over the wire."""


class ChatServer:
    """Where it serves, and what it was asked so far."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.contextmanager
def chat_server(answer: Answer) -> Iterator[ChatServer]:
    made = ChatServer(answer)
    server = _Listener(("127.0.0.1", 0), _handler(made))
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(asked: Asked, texts: Sequence[str], *, model: str | None = None) -> dict[str, Any]:
    """An answer with these texts. Its tokens are words; each has log-probability -0.5 where they are asked for."""
    choices = []
    for index, text in enumerate(texts):
        choice: dict[str, Any] = {"index": index, "message": {"role": "assistant", "content": text}}
        if asked.body.get("logprobs"):
            top = [{"token": "other", "logprob": -1.0}] * int(asked.body.get("top_logprobs", 0))
            tokens = [{"token": word, "logprob": -0.5, "top_logprobs": top} for word in text.split()]
            choice["logprobs"] = {"content": tokens}
        choices.append({**choice, "finish_reason": "stop"})
    read = sum(len(turn["content"].split()) for turn in asked.messages)
    written = sum(len(text.split()) for text in texts)
    return {
        "id": f"chat-{asked.number}",
        "object": "chat.completion",
        "model": model or asked.body["model"],
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tells of no caller that broke its connection: a test may have killed it."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            if (
                len(read := self.rfile.read(length)) < length
            ):  # the caller has left, as one does that was refused before
                return
            body = json.loads(read)
            if self.path != "/v1/chat/completions":
                self._write(Raw(404, {"error": {"message": f"no {self.path} here"}}))
                return
            with server.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(body, headers, len(server.asked))
                server.asked.append(asked)
            answer = server.answer(asked)
            if isinstance(answer, str):
                answer = [answer] * asked.n
            self._write(answer if isinstance(answer, Raw) else Raw(200, completion(asked, answer)))

        def _write(self, raw: Raw) -> None:
            content = raw.body if isinstance(raw.body, bytes) else json.dumps(raw.body).encode()
            # Who asked may have been killed meanwhile.
            with contextlib.suppress(ConnectionError):
                self.send_response(raw.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                for name, value in raw.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if raw.hang_up else content)
                self.wfile.flush()
            self.close_connection = self.close_connection or raw.hang_up

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test reads `asked`."""

    return Handler

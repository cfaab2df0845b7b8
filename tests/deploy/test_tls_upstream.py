"""nginx in compose finds a judge that an upgrade has made at another address, without a restart of its own."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from testkit.nginx import SHIPPED, tls_nginx
from testkit.waiting import HUNG_S, wait_until

FIRST, SECOND = "127.0.0.2", "127.0.0.3"


class Names:
    """A name server that knows one address for every name. It follows RFC 1035 as far as one question needs it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(512)
            asked = question[12:]
            asked = asked[: asked.index(b"\0") + 5]  # the name, its type and its class
            head = question[:2] + b"\x81\x80" + b"\0\1\0\1\0\0\0\0"
            found = b"\xc0\x0c\0\1\0\1" + b"\0\0\0\1" + b"\0\4" + socket.inet_aton(self.address)
            self._socket.sendto(head + asked + found, sender)


@contextmanager
def judge(address: str, port: int) -> Iterator[int]:
    """The port of a server that answers every request with its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(address)))
            self.end_headers()
            self.wfile.write(address.encode())

        def log_message(self, *about: object) -> None:
            pass

    with ThreadingHTTPServer((address, port), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_a_judge_at_another_address_is_found(tmp_path: Path) -> None:
    names = Names(FIRST)
    shipped = SHIPPED.with_name("tls-upstream-compose.conf").read_text(encoding="utf-8")
    with ExitStack() as stack:
        old = ExitStack()
        port = old.enter_context(judge(FIRST, 0))
        stack.enter_context(judge(SECOND, port))
        places = {"127.0.0.11": f"127.0.0.1:{names.port}", "valid=5s": "valid=1s", "judge:8000": f"judge:{port}"}
        for place, here in places.items():
            assert place in shipped, place
            shipped = shipped.replace(place, here)
        url, certificate = stack.enter_context(tls_nginx(tmp_path, "", shipped))
        trusted = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=url, verify=trusted, timeout=HUNG_S, trust_env=False) as client:
            assert client.get("/v1/judge?judge=a%20b").text == FIRST
            names.address = SECOND
            old.close()
            wait_until(lambda: client.get("/v1/judge").text == SECOND)

"""Refuses what web pages send to a service without keys: who opens a page must not thereby ask this machine's judge.

Guarantees: a request is refused whose `Origin` is another than the service's own, whose `Host` is a name that others
can point here, or that a form could have sent as text. A program that sends no `Origin`, as curl does, is served.
"""

import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import problems
from service.errors import Forbidden

_TEACH = "a service without a teams file serves programs on this machine and its own page"
_MOST_KNOWN = 64
# Forms and `no-cors` calls may send these without asking first. The third such type, that of curl's `-d`, escapes JSON.
_OF_FORMS = (b"text/plain", b"multipart/form-data")


class LocalCallers:
    """Stands before the app where there is no teams file."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wrong = self._wrong(scope["method"], scope["headers"]) if scope["type"] == "http" else None
        app = self._app if wrong is None else problems.of_error(Forbidden(wrong), scope["state"]["request_id"])
        await app(scope, receive, send)

    def _wrong(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """What is wrong with the caller, in words; None where nothing is."""
        host = origin = None
        for name, value in headers:
            if name == b"host":
                if value not in self._known and not self._learn(value):
                    return f"`Host` is not an address and not localhost; {_TEACH}"
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                if method != "GET" and value not in (b"same-origin", b"none"):
                    return f"another site's page sent this; {_TEACH}"
            elif name == b"content-type" and value.lower().startswith(_OF_FORMS):
                return "`Content-Type` is one of web forms; send application/json"
        if origin is not None and origin.lower() not in (b"http://%s" % (host or b""), b"https://%s" % (host or b"")):
            return f"`Origin` is another site's; {_TEACH}"
        return None

    def _learn(self, host: bytes) -> bool:
        if not names_this_machine(host.decode("latin-1")):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        return True


def names_this_machine(host: str) -> bool:
    """Whether a `Host` is an IP address, or a name that no name server can point elsewhere. Ports are not looked at."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

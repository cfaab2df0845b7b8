"""Opens the sockets that the service listens on, with IPv4 or IPv6, and writes their addresses as URLs have them."""

import ipaddress
import socket

from service.errors import ConfigurationError

_BACKLOG = 2048


def open_listener(host: str, port: int, setting: str = "port") -> socket.socket:
    """Raises ConfigurationError where nobody may listen there; it names the `setting` of the port. `::` listens with
    IPv4 too, where the system allows it."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # `localhost` has both
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"{authority(host, port)} cannot be listened on: {why}; end the program that listens there, or set another "
            f"`{setting}` or `{setting.replace('port', 'host')}`"
        ) from None


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{authority(host, port)}"


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address or name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

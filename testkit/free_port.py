"""Finds a free port on the loopback for a server that a test or a load test starts."""

import socket


def free_port() -> int:
    """A port below 55536, so that the bus of a Redis cluster (port + 10000) has a port too."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port < 55536:
            return port

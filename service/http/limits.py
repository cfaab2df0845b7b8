"""Says what one connection and all connections together may take of this process: bytes, seconds and descriptors.

Guarantees: connections never take the descriptors that files and Redis need, because they get what the process may open
less a reserve.
"""

import logging
import resource
from dataclasses import dataclass

from service.settings import ApiSettings, ServerSettings

log = logging.getLogger("rubricd")

# Files, Redis, the remote engine's connections, pipes to the rule processes and to vLLM.
_RESERVED_DESCRIPTORS = 256
# Some programs below this one walk through all descriptors that they may have: a limit of a billion is too many.
_MOST_DESCRIPTORS = 1 << 20


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`unread_bytes` is how much of a body is still taken, and thrown away, once its request has been answered."""

    connections: int
    connections_per_client: int
    headers: int
    header_bytes: int
    header_s: float
    idle_s: float
    stall_s: float
    bytes_per_s: float
    unread_bytes: int


def connection_limits(server: ServerSettings, api: ApiSettings, descriptors: int) -> ConnectionLimits:
    """The limits of a process that may have so many descriptors open. Fewer connections than the settings say are
    logged."""
    most = max(1, min(server.max_connections, descriptors - _RESERVED_DESCRIPTORS))
    if most < server.max_connections:
        log.warning(
            "this process may open %d descriptors, so it takes %d connections and not `max_connections` %d; "
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE)",
            descriptors,
            most,
            server.max_connections,
        )
    return ConnectionLimits(
        connections=most,
        connections_per_client=min(most, server.max_connections_per_client),
        headers=server.max_headers,
        header_bytes=server.max_header_bytes,
        header_s=server.header_timeout_s,
        idle_s=server.idle_timeout_s,
        stall_s=server.stall_timeout_s,
        bytes_per_s=server.min_bytes_per_s,
        unread_bytes=api.max_body_bytes,
    )


def raise_descriptor_limit() -> int:
    """Raises this process's soft limit of open descriptors to its hard one, and returns the limit that holds now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = descriptor_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def descriptor_limit() -> int:
    """How many descriptors this process can have open once its soft limit is raised."""
    soft, hard = (
        _MOST_DESCRIPTORS if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return max(soft, min(hard, _MOST_DESCRIPTORS))

"""Counts the open connections, in all and by client, and closes those that take too long.

Guarantees: neither all connections together nor those of one client exceed their limit, but for a few that are being
told so. At a limit a connection that waits for a request gives its place to a new one; where none waits, the new one is
refused. A pass over the connections gives the event loop back after a few closings.
"""

import asyncio
import heapq
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.http.descriptors import SpareDescriptors
from service.http.limits import ConnectionLimits

log = logging.getLogger("rubricd")

_REMEDIES = {
    "client_limit": "one address has `max_connections_per_client` requests at work: raise that where it is a proxy",
    "limit": "`max_connections` requests are at work: raise that, or add replicas",
    "descriptors": "this process may open no more descriptors: raise its hard limit (`ulimit -Hn`, LimitNOFILE)",
}

_EVERY_S = 0.1
_LOG_EVERY_S = 10.0
_CLOSED_AT_ONCE = 32
_LARGEST = 256
_MOST_REFUSED = 64


class Connection(Protocol):
    """What the table knows of a connection. `due_s` is when it has taken too long, by the event loop's clock."""

    due_s: float
    host: str

    def expire(self) -> None:
        """Ends what took too long."""

    def abort(self) -> None:
        """Ends it at once."""

    def check_writing(self, now_s: float) -> None:
        """Ends a connection whose answer is not read."""

    def check_caller(self) -> None:
        """Ends a connection whose caller has left, where the end of its data did not say so."""


@dataclass(slots=True, eq=False)
class Client:
    """The connections of one address. `waiting` has those without a whole request, the oldest first."""

    connections: int = 0
    waiting: dict[Connection, None] = field(default_factory=dict)


class ConnectionTable:
    """One for a process. `count` is called with the reason why a connection was refused or closed, and `show` with the
    number of open ones."""

    def __init__(
        self,
        limits: ConnectionLimits,
        count: Callable[[str], None] = lambda reason: None,
        show: Callable[[int], None] = lambda connections: None,
    ) -> None:
        self.limits = limits
        self.writing: set[Connection] = set()
        self.half_closed: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._count = count
        self._show = show
        self._open: dict[Connection, Client] = {}
        self._waiting: dict[Connection, None] = {}
        self._clients: dict[str, Client] = {}
        self._largest: list[Client] | None = None
        self._spare = SpareDescriptors()
        self._since_log: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> str | None:
        """Counts a new connection, and returns None, or why it has to be refused."""
        name = network_of(connection.host)
        client = self._clients.get(name) or self._clients.setdefault(name, Client())
        self._open[connection] = client
        client.connections += 1
        if self._spare.exhausted:
            return self.count("descriptors")
        if client.connections > self.limits.connections_per_client and not self._evict_oldest(client.waiting):
            return self.count("client_limit")
        if len(self._open) > self.limits.connections and not self._evict_of_the_largest():
            return self.count("limit")
        return None

    def may_linger(self, refused: Connection) -> bool:
        """Whether a connection that was refused may stay until its caller has read why."""
        if len(self._refused) >= _MOST_REFUSED:
            return False
        self._refused.add(refused)
        return True

    def remove(self, connection: Connection) -> None:
        """Does nothing for a connection that is not counted any more."""
        client = self._open.pop(connection, None)
        if client is None:
            return
        client.connections -= 1
        client.waiting.pop(connection, None)
        self._waiting.pop(connection, None)
        self.writing.discard(connection)
        self.half_closed.discard(connection)
        self._refused.discard(connection)
        if not client.connections:
            self._clients.pop(network_of(connection.host), None)

    def waits(self, connection: Connection) -> None:
        """The connection has no whole request; it may be given up for another one."""
        if client := self._open.get(connection):
            client.waiting[connection] = self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """A request has come."""
        if client := self._open.get(connection):
            client.waiting.pop(connection, None)
            self._waiting.pop(connection, None)

    def count(self, reason: str) -> str:
        self._count(reason)
        self._since_log[reason] += 1
        return reason

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        logged_s = loop.time()
        fault: Exception | None = None
        while True:
            await asyncio.sleep(_EVERY_S)
            now_s = loop.time()
            try:
                await self.check(now_s)
            except Exception as error:  # one connection's, or the machine's: without this task none would end any more
                fault = error
            if now_s - logged_s < _LOG_EVERY_S:
                continue
            logged_s = now_s
            if self._since_log:
                self._log()
            if fault is not None:
                log.error("the connections could not be looked through", exc_info=fault)
                fault = None

    async def check(self, now_s: float) -> None:
        """One pass over all connections."""
        self._spare.probe()
        self._show(len(self._open))
        self._largest = None
        for connection in [*self.writing]:
            connection.check_writing(now_s)
        for connection in [*self.half_closed]:
            connection.check_caller()
        late = [connection for connection in self._open if connection.due_s <= now_s]
        for number, connection in enumerate(late, 1):
            if connection in self._open:
                connection.expire()
            if number % _CLOSED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _evict_of_the_largest(self) -> bool:
        """Ends a waiting connection of the client with the most. Those are looked for once between two passes: in a
        flood not each connection must cost a look at all clients."""
        if self._largest is None:
            waiting = (client for client in self._clients.values() if client.waiting)
            largest = heapq.nlargest(_LARGEST, waiting, key=lambda client: client.connections)
            self._largest = largest[::-1]
        while self._largest:
            if self._evict_oldest(self._largest[-1].waiting):
                return True
            self._largest.pop()
        return self._evict_oldest(self._waiting)  # of those that have come since

    def _evict_oldest(self, waiting: Mapping[Connection, None]) -> bool:
        if not waiting:
            return False
        oldest = next(iter(waiting))
        oldest.abort()
        self.remove(oldest)
        self.count("evicted")
        return True

    def _log(self) -> None:
        log.warning("%s", summary(self._since_log, len(self._open)))
        self._since_log.clear()


def summary(counted: Mapping[str, int], connections: int) -> str:
    """What was refused or closed, by reason, how many are open, and what an operator may do."""
    told = ", ".join(f"{number} {reason}" for reason, number in sorted(counted.items()))
    remedies = [remedy for reason, remedy in _REMEDIES.items() if reason in counted]
    return "; ".join([f"connections refused or closed: {told}", f"{connections} are open", *remedies])


def network_of(host: str) -> str:
    """The address itself with IPv4, its /64 with IPv6: one customer has at least that many addresses."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.packed[:8].hex()

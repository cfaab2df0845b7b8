"""Single flight judges a query once, however many requests wait for it (after Go's singleflight, with counted waiters).

Guarantees: a flight goes on while any request waits for it, whichever began it; when the last one is released it is
cancelled and forgotten. A failure is shared with the requests that wait and then forgotten. A flight's deadline is the
latest of its waiters'.
"""

import asyncio
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


class Work(Protocol):
    """The work that a flight waits for."""

    def cancel(self) -> None: ...

    def extend_deadline(self, deadline_s: float | None) -> None: ...


class Flight(Generic[V]):
    """One query that is being judged. Await `future` through `asyncio.wait`, which does not cancel it, and call
    `release` once for each `join`. `cached` says that the value came from another process's cache."""

    __slots__ = ("_flights", "_key", "cached", "deadline_s", "future", "waiters", "work")

    def __init__(self, flights: "dict[bytes, Flight[V]]", key: bytes, deadline_s: float | None) -> None:
        self.future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.waiters = 1
        self.deadline_s = deadline_s
        self.work: Work | None = None
        self.cached = False
        self._flights = flights
        self._key = key

    def succeed(self, value: V, *, cached: bool = False) -> None:
        if not self.future.done():
            self.cached = cached
            self.future.set_result(value)
            del self._flights[self._key]

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            # Retrieved here: every waiter reads the error again, and asyncio would report one that nobody waits for.
            self.future.exception()
            del self._flights[self._key]

    def release(self) -> None:
        """One waiter is gone; without any the work is cancelled."""
        self.waiters -= 1
        # A finished flight has left the table already, where its key may name a later flight by now.
        if self.waiters == 0 and not self.future.done():
            self.future.cancel()
            del self._flights[self._key]
            if self.work is not None:
                self.work.cancel()

    def extend_deadline(self, deadline_s: float | None) -> None:
        """One more request waits, perhaps longer. None is no deadline."""
        if self.deadline_s is not None and (deadline_s is None or deadline_s > self.deadline_s):
            self.deadline_s = deadline_s
            if self.work is not None:
                self.work.extend_deadline(deadline_s)


class SingleFlight(Generic[V]):
    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: bytes) -> bool:
        return key in self._flights

    def join(self, key: bytes, deadline_s: float | None = None) -> tuple[Flight[V], bool]:
        """The flight of `key`, with the caller as one more waiter, and whether it is new and so the caller's to
        judge."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiters += 1
            flight.extend_deadline(deadline_s)
            return flight, False
        flight = self._flights[key] = Flight(self._flights, key, deadline_s)
        return flight, True

    @property
    def futures(self) -> list[asyncio.Future[V]]:
        return [flight.future for flight in self._flights.values()]

    def fail_all(self, error: Exception) -> None:
        for flight in list(self._flights.values()):
            flight.fail(error)

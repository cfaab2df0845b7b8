"""The same question asked twice at once is judged once (after Go's singleflight, with counted waiters).

Always true: a flight belongs to nobody: whoever leaves, it goes on while anyone waits; when the last one leaves it is
cancelled and forgotten. A failure is shared with those waiting and then forgotten. Its deadline is that of its most
patient waiter.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


class Work(Protocol):
    """What a flight set going."""

    def cancel(self) -> None: ...

    def extend_deadline(self, deadline_s: float | None) -> None: ...


class Flight(Generic[V]):
    """One question being judged. Await `future` through `asyncio.wait`, which does not cancel it, and `leave` once."""

    def __init__(self, forget: Callable[[], None], deadline_s: float | None) -> None:
        self.future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.waiters = 0
        self.deadline_s = deadline_s
        self.work: Work | None = None
        self._forget = forget

    @property
    def told(self) -> V | None:
        """The value, once there is one."""
        if not self.future.done() or self.future.cancelled() or self.future.exception() is not None:
            return None
        return self.future.result()

    def succeed(self, value: V) -> None:
        if not self.future.done():
            self.future.set_result(value)
            self._forget()

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # retrieved here: those waiting read it again, and with none waiting it is no news
            self._forget()

    def leave(self) -> None:
        """One waiter is gone; the last one's departure cancels the work."""
        self.waiters -= 1
        if self.waiters == 0 and not self.future.done():
            self.future.cancel()
            self._forget()
            if self.work is not None:
                self.work.cancel()

    def extend_deadline(self, deadline_s: float | None) -> None:
        """One more waits, perhaps longer. None is for ever."""
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
        """The flight of `key`, counted in as a waiter, and whether it is new and so the caller's to get going."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.waiters += 1
            flight.extend_deadline(deadline_s)
            return flight, False
        flight = self._flights[key] = Flight(lambda: self._forget(key), deadline_s)
        flight.waiters = 1
        return flight, True

    @property
    def futures(self) -> list[asyncio.Future[V]]:
        return [flight.future for flight in self._flights.values()]

    def fail_all(self, error: Exception) -> None:
        for flight in list(self._flights.values()):
            flight.fail(error)

    def _forget(self, key: bytes) -> None:
        del self._flights[key]

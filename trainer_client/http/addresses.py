"""Chooses among the addresses of one judge service: calls about one prompt go to one of them while it is well.

Guarantees: an address that failed rests for a while that grows with its failures, and is chosen again before that only
where all of them rest. Nothing here waits or sends.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from trainer_client.errors import Overloaded, QuotaExceeded, RubricdClientError, TransportError, Unavailable

_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0
# After these errors another address may answer. A quota is counted by replica or for all: another one may have some.
_ELSEWHERE = (TransportError, Unavailable, Overloaded, QuotaExceeded)


@dataclass(slots=True)
class Address:
    """One address, how often it failed in a row, and until when it rests."""

    url: httpx.URL
    failures: int = 0
    rests_until: float = 0.0
    _below: dict[str, httpx.URL] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The address without a user and a password."""
        return str(self.url.copy_with(userinfo=b""))

    def at(self, path: str) -> httpx.URL:
        """A path of the service below this address, which may have a path itself."""
        found = self._below.get(path)
        if found is None:
            found = self._below[path] = self.url.copy_with(raw_path=self.url.raw_path.rstrip(b"/") + path.encode())
        return found


class Addresses:
    """The addresses of one client, in all its event loops. `now` is its clock."""

    def __init__(self, urls: Sequence[httpx.URL], now: Callable[[], float]) -> None:
        self.all = tuple(map(Address, urls))
        self._now = now
        self._next = 0

    def choose(self, key: str | None) -> Address:
        """The address for calls with this key, or the next one in turn without a key. Where it rests another one that
        does not, the same for all calls with the key; where all rest, the one whose rest ends first."""
        if len(self.all) == 1:
            return self.all[0]
        now = self._now()
        well = [address for address in self.all if address.rests_until <= now]
        if not well:
            return min(self.all, key=lambda address: address.rests_until)
        if key is None:
            self._next += 1
            return well[self._next % len(well)]
        # The highest of hashes: when an address falls out, the other addresses keep their keys.
        return max(well, key=lambda address: hashlib.blake2b(f"{address.url} {key}".encode(), digest_size=8).digest())

    def succeeded(self, address: Address) -> None:
        address.failures, address.rests_until = 0, 0.0

    def failed(self, address: Address, error: RubricdClientError) -> bool:
        """Lets the address rest if the error says that it is not well. Returns whether another one may be asked now."""
        if len(self.all) == 1 or not isinstance(error, _ELSEWHERE):
            return False
        now = self._now()
        if address.rests_until <= now:  # Calls that failed together are one failure.
            address.failures += 1
            rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(address.failures - 1, 60))
            address.rests_until = now + max(rest_s, error.retry_after_s or 0.0)
        return any(other.rests_until <= now for other in self.all)

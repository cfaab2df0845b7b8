"""Counts how many rubricds a request has come through, so that two that name each other's judges do not ask for ever.

Guarantees: a request that has come through `MOST_HOPS` of them is passed on to none.
"""

from collections.abc import Iterable
from contextvars import ContextVar

from service.errors import InvalidRequest

HEADER = "rubricd-hops"
MOST_HOPS = 4
HOPS: ContextVar[int] = ContextVar("hops", default=0)
"""How many the request came through that is worked on."""


def came_through(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """What a request's headers say; 0 where they say no number."""
    said = next((value for name, value in headers if name == HEADER.encode()), b"")
    return min(int(said), MOST_HOPS) if said.isdigit() and len(said) < 4 else 0


def next_hop() -> dict[str, str]:
    """The header for the next one. Raises InvalidRequest where there must be no next one."""
    if (hops := HOPS.get()) >= MOST_HOPS:
        message = (
            f"the request has come through {hops} rubricds: judges of several services are made of each other; change "
            "the `judges.yaml` of one of them"
        )
        raise InvalidRequest(message, ((("judge",), message),))
    return {HEADER: str(hops + 1)}

"""Finds a request's team and charges its quota of requests, on every route that does work for a caller.

Guarantees: a request counts as one for each started MiB of its body, since reading, rendering and writing cost about
as much time as there are bytes. It is charged before the body is read, by its declared length; a body without one is
charged as one request before and for the rest after. A refusal is counted for its team.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from service.api.dependencies import Dependencies
from service.api.request_metrics import RequestSummary
from service.errors import RequestError
from service.tenancy.team import Team

_MIB = 1_048_576


@contextmanager
def identified(dependencies: Dependencies, request: Request) -> Iterator[Team]:
    """The team of the request's key. Counts what is refused meanwhile. Raises Unauthorized."""
    team: Team | None = None
    try:
        # Identity first: without a key nothing of the body is read, and a refusal can be counted for its team.
        team = dependencies.authentication.team_of(request.headers.get("authorization"))
        request.state.summary = RequestSummary(team.name)
        yield team
    except RequestError as error:
        wait_s = getattr(error, "retry_after_s", None)
        dependencies.telemetry.count_refusal(None if team is None else team.name, error.code, wait_s)
        raise


async def charged_body(dependencies: Dependencies, request: Request, team: Team) -> bytes:
    """The body. Raises QuotaExceeded."""
    declared = request.headers.get("content-length", "")
    charged = _requests(int(declared), team) if declared.isdecimal() and len(declared) < 20 else 1
    await dependencies.ledger.admit(team, charged)
    body = await request.body()
    if (left := _requests(len(body), team) - charged) > 0:
        await dependencies.ledger.admit(team, left)
    return body


def _requests(length: int, team: Team) -> int:
    """At most as many as the team may send in a minute: else the request would be refused for ever."""
    count = max(1, -(-length // _MIB))
    return count if team.requests_per_minute is None else min(count, team.requests_per_minute)

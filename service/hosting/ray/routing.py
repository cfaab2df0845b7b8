"""The request router sends a prompt's calls to one replica, as long as that has not much more to do than the others.

Guarantees: a replica that is not ready gets a request only where none is ready; a call without a session id goes to the
less busy of two replicas. Ray sends this module to its proxies by value, so it imports nothing of ours.
"""

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

_FORGET_S = 3600.0


def preferred(key: str, load: Mapping[str, int], slack: float, factor: float) -> list[str]:
    """The replicas in the order in which this key tries them. Pure.

    Each key has an order of its own (rendezvous hashing: a replica that comes or goes moves only its own keys). First
    come those that hold no more than `slack` requests over `factor` times the mean load, then the others.
    """
    order = sorted(load, key=lambda name: hashlib.blake2b(f"{key} {name}".encode(), digest_size=8).digest())
    most = slack + factor * sum(load.values()) / max(1, len(load))
    return sorted(order, key=lambda name: load[name] > most)


class InFlightRequests:
    """Counts the requests of this proxy by replica, until they are answered: Ray's own count lags behind a burst. A
    request whose end is not reported is forgotten after `_FORGET_S`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at: dict[str, tuple[str, float]] = {}

    def start(self, request: str, replica: str) -> None:
        self._at.pop(request, None)
        self._at[request] = (replica, self._now())

    def move(self, request: str, replica: str) -> None:
        """The request went to another replica than the one that was chosen."""
        if request in self._at:
            self.start(request, replica)

    def finish(self, request: str) -> None:
        self._at.pop(request, None)

    def count(self) -> Counter[str]:
        """Requests that run now, by replica."""
        before_s = self._now() - _FORGET_S
        while self._at and self._at[oldest := next(iter(self._at))][1] < before_s:
            del self._at[oldest]
        return Counter(replica for replica, _ in self._at.values())


class SessionAffinityRouter(RequestRouter):  # type: ignore[misc]  # Ray is not typed here
    """The key of a prompt is the header that Ray reads as a session id (`X-Session-Id`)."""

    queue_len_response_deadline_s = 1.0  # a busy replica that reports its queue late keeps its prompts

    def initialize_state(self, slack: float = 16.0, factor: float = 1.25) -> None:
        """Ray passes `request_router_kwargs` here. See `preferred`."""
        self._slack = slack
        self._factor = factor
        self._in_flight = InFlightRequests()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of one replica each. Ray takes the first one that has room."""
        ready = [one for one in candidate_replicas if one.routing_stats.get("ready", True)] or candidate_replicas
        if pending_request is None or not ready:
            return [ready]
        pending_request.routing_context.should_backoff = True
        request = pending_request.metadata.internal_request_id
        self._in_flight.finish(request)
        named: dict[str, RunningReplica] = {one.replica_id.unique_id: one for one in ready}
        load = self._load(ready)
        if key := pending_request.metadata.session_id:
            order = preferred(key, load, self._slack, self._factor)
        else:
            order = sorted(random.sample(list(named), min(2, len(named))), key=lambda name: load[name])
        self._in_flight.start(request, order[0])

        def forget_if_cancelled(routed: asyncio.Future[RunningReplica]) -> None:
            if routed.cancelled():
                self._in_flight.finish(request)

        pending_request.future.add_done_callback(forget_if_cancelled)
        return [[named[name]] for name in order]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: object) -> None:
        self._in_flight.move(pending_request.metadata.internal_request_id, replica_id.unique_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._in_flight.finish(internal_request_id)

    def _load(self, replicas: Sequence[RunningReplica]) -> dict[str, int]:
        """Requests that run: as many as this proxy sent, or as the replica reports, because there are other proxies."""
        sent = self._in_flight.count()
        names = [(one.replica_id.unique_id, one.replica_id) for one in replicas]
        return {name: max(sent[name], self.replica_queue_len_cache.get(id) or 0) for name, id in names}

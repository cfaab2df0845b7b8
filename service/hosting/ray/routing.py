"""Which replica a request goes to: a prompt's calls to one, as long as that has not much more to do than the others.

Always true: a replica that is not ready is asked only where none is; a call that names no prompt goes to the less busy
one of two. Ray sends this module to its proxies by value, so it imports nothing of ours.
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
    """The replicas in the order in which this key asks them. Pure.

    Each key has an order of its own (rendezvous hashing: a replica that comes or goes moves only its own keys). First
    come those that hold no more than `slack` requests over `factor` times the mean load, then the others.
    """
    order = sorted(load, key=lambda name: hashlib.blake2b(f"{key} {name}".encode(), digest_size=8).digest())
    most = slack + factor * sum(load.values()) / max(1, len(load))
    return sorted(order, key=lambda name: load[name] > most)


class UnderWay:
    """Which replica each request went to, until it is answered: Ray's own count lags behind a burst. A request of which
    nothing more is heard is forgotten after `_FORGET_S`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at: dict[str, tuple[str, float]] = {}

    def begins(self, request: str, replica: str) -> None:
        self._at.pop(request, None)
        self._at[request] = (replica, self._now())

    def moves(self, request: str, replica: str) -> None:
        """It went to another one than was thought."""
        if request in self._at:
            self.begins(request, replica)

    def ends(self, request: str) -> None:
        self._at.pop(request, None)

    def count(self) -> Counter[str]:
        """By replica."""
        before_s = self._now() - _FORGET_S
        while self._at and self._at[oldest := next(iter(self._at))][1] < before_s:
            del self._at[oldest]
        return Counter(replica for replica, _ in self._at.values())


class Affinity(RequestRouter):  # type: ignore[misc]  # Ray is not typed here
    """The prompt is known by the header that Ray takes for a session's (`X-Session-Id`)."""

    queue_len_response_deadline_s = 1.0  # a busy replica that says late how busy it is keeps its prompts

    def initialize_state(self, slack: float = 16.0, factor: float = 1.25) -> None:
        """See `preferred`."""
        self._slack = slack
        self._factor = factor
        self._under_way = UnderWay()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of one replica each; Ray takes the first that has a place."""
        ready = [one for one in candidate_replicas if one.routing_stats.get("ready", True)] or candidate_replicas
        if pending_request is None or not ready:
            return [ready]
        pending_request.routing_context.should_backoff = True
        request = pending_request.metadata.internal_request_id
        self._under_way.ends(request)
        named: dict[str, RunningReplica] = {one.replica_id.unique_id: one for one in ready}
        load = self._load(ready)
        if key := pending_request.metadata.session_id:
            order = preferred(key, load, self._slack, self._factor)
        else:
            order = sorted(random.sample(list(named), min(2, len(named))), key=lambda name: load[name])
        self._under_way.begins(request, order[0])

        def left(routed: asyncio.Future[RunningReplica]) -> None:
            if routed.cancelled():
                self._under_way.ends(request)

        pending_request.future.add_done_callback(left)
        return [[named[name]] for name in order]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: object) -> None:
        self._under_way.moves(pending_request.metadata.internal_request_id, replica_id.unique_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._under_way.ends(internal_request_id)

    def _load(self, replicas: Sequence[RunningReplica]) -> dict[str, int]:
        """Requests under way: what this proxy sent, or what the replica says, for there are other proxies."""
        sent = self._under_way.count()
        names = [(one.replica_id.unique_id, one.replica_id) for one in replicas]
        return {name: max(sent[name], self.replica_queue_len_cache.get(id) or 0) for name, id in names}

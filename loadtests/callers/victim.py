"""The victim asks small questions at even times, and looks how late the service's event loop answers, all the while.

Guarantees: no two requests of the victim have a text in common, so that each is judged; a request without an answer
counts as one that took as long as the victim waits.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self

from loadtests.callers.site import Replica
from loadtests.open_loop import Reply, TeamClient

EVERY_S = 0.05
PROBE_EVERY_S = 0.04
ANSWER_S = 20.0


@dataclass(slots=True)
class Seen:
    """Seconds of each answer to the victim, and of each answer that needs the event loop alone: of these, without the
    time in which the loop's thread had no core. `own_late_s` is how late this process itself was: as much of the other
    times may be the machine's."""

    answers_s: list[float] = field(default_factory=list)
    unserved: dict[str, int] = field(default_factory=dict)
    loop_s: list[float] = field(default_factory=list)
    own_late_s: float = 0.0


class Victim:
    """A caller of small requests; every other one has a rule beside its questions."""

    def __init__(self, port: int, key: str, replicas: Sequence[Replica]) -> None:
        self._client = TeamClient(port, key)
        self._probes = [(TeamClient(replica.host.port, key), replica) for replica in replicas]
        self._numbers = count()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in (self._client, *(client for client, _ in self._probes)):
            await client.__aexit__(None, None, None)

    async def watch(self, seen: Seen, ended: asyncio.Event) -> None:
        """Until `ended`; then until everything that was asked has ended."""
        async with asyncio.TaskGroup() as asked:

            def ask() -> None:
                asked.create_task(self._ask(seen))

            def probe() -> None:
                for client, replica in self._probes:
                    asked.create_task(_probe(client, replica, seen))

            asked.create_task(_evenly(EVERY_S, ended, seen, ask))
            asked.create_task(_evenly(PROBE_EVERY_S, ended, seen, probe))

    async def _ask(self, seen: Seen) -> None:
        number = next(self._numbers)
        began_s, why = time.perf_counter(), None
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await self._client.send("POST", "/v1/score", body(number))
                why = None if reply.whole else _why(reply)
        except TimeoutError:
            why = "no answer"
        except (OSError, EOFError) as error:
            why = type(error).__name__
        seen.answers_s.append(time.perf_counter() - began_s)
        if why is not None:
            seen.unserved[why] = seen.unserved.get(why, 0) + 1


async def _evenly(every_s: float, ended: asyncio.Event, seen: Seen, begin: Callable[[], object]) -> None:
    due_s = time.perf_counter()
    while not ended.is_set():
        begin()
        due_s = max(due_s + every_s, time.perf_counter() - every_s)
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        seen.own_late_s = max(seen.own_late_s, time.perf_counter() - due_s)


async def _probe(client: TeamClient, replica: Replica, seen: Seen) -> None:
    began_s, waited_s = time.perf_counter(), replica.waited_s()
    with contextlib.suppress(TimeoutError, OSError, EOFError):
        async with asyncio.timeout(ANSWER_S):
            await client.send("GET", "/healthz", b"")
    late_s = time.perf_counter() - began_s
    seen.loop_s.append(max(0.0, late_s - (replica.waited_s() - waited_s)))


def _why(reply: Reply) -> str:
    if reply.status != 200:
        return str(reply.status)
    return next(status for status in reply.statuses if status not in ("ok", "abstained"))


def body(number: int) -> bytes:
    """Two questions for the judge, and a rule in every other request."""
    criteria: list[dict[str, object]] = [
        {"text": "Tells the user to rest.", "points": 5},
        {"text": "Is rude.", "points": -3},
    ]
    if number % 2:
        rule = {"rule": "regex", "pattern": f"tea {number}"}
        criteria.append({"text": "Names the tea.", "points": 1, "verifier": rule})
    item = {"prompt": f"My knee {number} hurts.", "response": f"Rest, and drink tea {number}.", "rubric": criteria}
    return json.dumps({"items": [item]}).encode()

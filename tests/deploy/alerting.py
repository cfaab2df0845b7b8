"""Alerts over time: a real Prometheus asked again and again, and the load that the services under it get.

Guarantees: An alert is known by its name and its job. What it was at any time is what Prometheus said of it.
"""

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from testkit.prometheus import Prometheus
from testkit.waiting import HUNG_S

LOOK_S = 0.2
_numbers = itertools.count()


@dataclass(slots=True)
class Row:
    """One alert: seconds from its cause until it fired, and from the cause's end until it was inactive."""

    alert: str
    fired_s: float
    description: str
    cleared_s: float | None = None


class Watch:
    """What is pending or firing, by name and job, looked at again and again; `rows` gets what fired and cleared."""

    def __init__(self, prometheus: Prometheus, rows: dict[str, Row]) -> None:
        self.rows = rows
        self.states: dict[tuple[str, str], str] = {}
        self.said: dict[tuple[str, str], str] = {}
        self._prometheus = prometheus

    def job(self, job: str) -> "Job":
        return Job(self, job)

    async def follow(self) -> None:
        while True:
            states: dict[tuple[str, str], str] = {}
            for alert in await asyncio.to_thread(self._prometheus.alerts):
                key = (alert.name, alert.labels.get("job", ""))
                if states.get(key) != "firing":
                    states[key] = alert.state
                if alert.state == "firing":
                    self.said[key] = alert.annotations["description"]
            self.states = states
            await asyncio.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class Job:
    """One job's alerts."""

    watch: Watch
    name: str

    async def fires(self, *alerts: str) -> None:
        """Their causes begin now; none fires yet."""
        early = [alert for alert in alerts if self._is(alert, "firing")]
        assert not early, f"they fire before their causes: {early}"

        def fired(alert: str, after_s: float) -> bool:
            if not self._is(alert, "firing"):
                return False
            self.watch.rows[alert] = Row(alert, after_s, self.watch.said[alert, self.name])
            return True

        await _each(alerts, fired, "did not fire")

    async def clears(self, *alerts: str) -> None:
        """Their causes end now."""

        def cleared(alert: str, after_s: float) -> bool:
            if not self._is(alert, None):
                return False
            self.watch.rows[alert].cleared_s = after_s
            return True

        await _each(alerts, cleared, "did not clear")

    def _is(self, alert: str, state: str | None) -> bool:
        return self.watch.states.get((alert, self.name)) == state


async def _each(alerts: Sequence[str], done: Callable[[str, float], bool], failed: str) -> None:
    began, left = time.monotonic(), set(alerts)
    while left:
        await asyncio.sleep(LOOK_S)
        after_s = time.monotonic() - began
        left -= {alert for alert in left if done(alert, after_s)}
        assert not left or after_s < HUNG_S, f"{failed} within {HUNG_S:.0f} s: {sorted(left)}"


def table(rows: Iterable[Row]) -> str:
    lines = ["| alert | fires after, s | inactive after, s | what it said |", "|---" * 4 + "|"]
    lines += [
        f"| {row.alert} | {row.fired_s:.1f} | {row.cleared_s or math.nan:.1f} | {row.description} |"
        for row in sorted(rows, key=lambda row: row.alert)
    ]
    return "\n".join(lines)


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While inside; the first that fails is raised at the end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for one in ended:
        if isinstance(one, Exception):
            raise one


def group(*, responses: int = 4, alike: bool = False, words: int = 20, **fields: Any) -> dict[str, Any]:
    """An item that nobody has asked about before; `alike` responses are one text."""
    number = next(_numbers)
    said = [f"Answer {number}.{0 if alike else place} " + "well " * words for place in range(responses)]
    rubric = [{"text": f"Says what point {k} says.", "points": 1} for k in range(3)]
    return {"prompt": f"Question {number}?", "responses": said, "rubric": rubric, **fields}


async def again_and_again(
    url: str, route: str, body: Callable[[], Any], every_s: float, headers: dict[str, str] | None = None
) -> None:
    """One request after the other, whatever is answered, also where nobody is there to answer."""
    async with httpx.AsyncClient(base_url=url, timeout=5, headers=headers) as client:
        while True:
            with suppress(httpx.TransportError):
                await client.post(route, json=body())
            await asyncio.sleep(every_s)


async def flood(url: str, body: Callable[[], Any], every_s: float) -> None:
    """A request when it is due, if there is a body, whether or not those before are answered; what is not in the end is
    left."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client, asyncio.TaskGroup() as asking:
        while True:
            if (one := body()) is not None:
                asking.create_task(client.post("/v1/score", json=one))
            await asyncio.sleep(every_s)

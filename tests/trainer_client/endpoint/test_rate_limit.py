"""Counts what becomes of calls to an API that answers so many requests a minute, by a clock of the test's own."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from testkit.scripted_judge import SimulatedClock
from trainer_client.endpoint import ChatEndpoint

CALLS, AT_ONCE, WRITES_S = 200, 8, 2.0


@dataclass
class LimitedApi:
    """A bucket of six seconds' tokens. Without one it refuses, and says when to come back, or does not."""

    a_minute: int
    says_when: bool
    time: SimulatedClock = field(default_factory=SimulatedClock)
    met: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._tokens = self._most = self.a_minute / 10
        self._at_s = 0.0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        now = self.time.now
        self._tokens = min(self._most, self._tokens + (now - self._at_s) * self.a_minute / 60)
        self._at_s = now
        if self._tokens < 1:
            self.met[429] += 1
            await self.time.sleep(0.05)
            headers = {"retry-after": f"{60 / self.a_minute:.0f}"} if self.says_when else {}
            return httpx.Response(429, json={"error": {"message": "Rate limit"}}, headers=headers)
        self._tokens -= 1
        self.met[200] += 1
        await self.time.sleep(WRITES_S)
        message = {"role": "assistant", "content": "four"}
        return httpx.Response(200, json={"model": "m", "choices": [{"index": 0, "message": message}]})


@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize("a_minute", [30, 60, 120])
async def test_a_rate_limit_costs_time_and_no_call(a_minute: int, says_when: bool) -> None:
    """Eight at once want 240 a minute. With the retries alone 40 % of the calls failed at 30 a minute, 4 % at 60."""
    api = LimitedApi(a_minute, says_when)
    endpoint = ChatEndpoint(
        "http://api", "m", transport=httpx.MockTransport(api.handle), clock=api.time.clock, concurrency=AT_ONCE
    )

    async def work(left: Iterator[int]) -> None:
        for number in left:
            await endpoint.chat([{"role": "user", "content": str(number)}])

    left = iter(range(CALLS))
    await api.time.play(*(work(left) for _ in range(AT_ONCE)))
    await endpoint.aclose()
    least_s = (CALLS - a_minute / 10) * 60 / a_minute
    print(f"{a_minute} a minute: {dict(api.met)} in {api.time.now:.0f} s, at least {least_s:.0f} s")
    assert api.met[200] == CALLS
    assert api.time.now < 1.3 * least_s + 15.0

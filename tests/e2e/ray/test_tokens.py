"""As many replicas as the tokens need, under load."""

import asyncio
from typing import Any

import httpx

from testkit.ray.nodes import Nodes, client
from tests.e2e.ray.test_losses import groups, oracle


async def test_replicas_come_and_go_with_the_tokens_that_wait(ray_nodes: Nodes) -> None:
    """From one to three while there is much to do, and back to one while there is little, without one error."""
    bounds = {"min_replicas": 1, "max_replicas": 3, "look_back_period_s": 1.0}
    delays = {"upscale_delay_s": 0.5, "downscale_delay_s": 2.0}
    await asyncio.to_thread(ray_nodes.deploy, autoscaling={**bounds, **delays}, target=300.0)
    await asyncio.to_thread(ray_nodes.until, lambda found: len(found) == 1)
    async with client(ray_nodes) as asking:
        much = Load(asking, callers=24, criteria=6)
        await asyncio.to_thread(ray_nodes.until, lambda found: len(found) == 3)
        await much.end()
        little = Load(asking, callers=1, criteria=1)
        await asyncio.to_thread(ray_nodes.until, lambda found: len(found) == 1)
        await little.end()
    assert set(much.statuses) == set(little.statuses) == {200}
    assert much.judged + little.judged == await oracle(much.asked + little.asked)


class Load:
    """So many callers, each asking again as soon as it was answered; without retries."""

    def __init__(self, asking: httpx.AsyncClient, callers: int, criteria: int) -> None:
        self.statuses: list[int] = []
        self.asked: list[dict[str, Any]] = []
        self.judged: list[list[float | None]] = []
        self._asking = asking
        self._criteria = criteria
        self._ended = False
        self._callers = [asyncio.create_task(self._ask()) for _ in range(callers)]

    async def end(self) -> None:
        self._ended = True
        await asyncio.gather(*self._callers)

    async def _ask(self) -> None:
        while not self._ended:
            [whole] = groups(1)
            item = {**whole, "responses": ["Answer."], "rubric": whole["rubric"][: self._criteria]}
            answer = await self._asking.post("/v1/score", json={"items": [item]})
            self.statuses.append(answer.status_code)
            self.asked.append(item)
            self.judged += [[one["p"] for one in result["criteria"]] for result in answer.json()["results"]]

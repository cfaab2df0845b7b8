"""What replicas share, and what stays with one: work through Redis, a prompt's calls by its header, metrics by none."""

import asyncio
import time
from typing import Any

import httpx

from testkit.ray.nodes import HOLDS, WAIT_S, Nodes, client
from testkit.waiting import HUNG_S
from trainer_client import wire
from trainer_client.http.headers import HEADER, affinity

RUBRIC = [{"text": f"Criterion number {n}.", "points": 1} for n in range(8)]
REQUESTS = 300
PROMPTS, TIMES = 20, 6
MANY = 100


def about(prompt: str, response: str = "Rest it.") -> dict[str, Any]:
    return {"items": [{"prompt": prompt, "response": response, "rubric": RUBRIC}]}


def known_by(body: dict[str, Any]) -> dict[str, str]:
    value = affinity([wire.Item.model_validate(one) for one in body["items"]], None)
    assert value is not None
    return {HEADER: value}


def total(nodes: Nodes, line: str) -> list[float]:
    return [nodes.metric(replica, line) for replica in nodes.replicas()]


async def test_identical_requests_over_three_replicas_are_judged_once(three: Nodes) -> None:
    body = about(f"Asked at {time.monotonic_ns()}.")
    before = total(three, 'rubricd_requests_total{route="/v1/score",status="200"}')
    async with client(three) as asking:
        answers = await asyncio.gather(*(asking.post("/v1/score", json=body) for _ in range(REQUESTS)))
    usages = [answer.json()["usage"] for answer in answers]
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    assert sum(usage["judgements"] for usage in usages) == len(RUBRIC)
    assert sum(usage["cache_hits"] + usage["deduplicated"] for usage in usages) == len(RUBRIC) * (REQUESTS - 1)
    assert len({tuple(one["p"] for one in answer.json()["results"][0]["criteria"]) for answer in answers}) == 1
    after = total(three, 'rubricd_requests_total{route="/v1/score",status="200"}')
    shares = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(shares) == REQUESTS
    assert min(shares) >= REQUESTS / 10


async def redis_hits(three: Nodes, headed: bool) -> float:
    """Verdicts that a replica had to fetch, for it had not judged them itself."""
    before = sum(total(three, 'rubricd_cache_hits_total{tier="redis"}'))
    bodies = [about(f"Prompt {n}, at {time.monotonic_ns()}.") for n in range(PROMPTS)]

    async def one_after_another(asking: httpx.AsyncClient, body: dict[str, Any]) -> None:
        for _ in range(TIMES):
            answer = await asking.post("/v1/score", json=body, headers=known_by(body) if headed else {})
            assert answer.status_code == 200

    async with client(three) as asking:
        await asyncio.gather(*(one_after_another(asking, body) for body in bodies))
    return sum(total(three, 'rubricd_cache_hits_total{tier="redis"}')) - before


async def test_calls_about_one_prompt_go_to_one_replica(three: Nodes) -> None:
    """Ray passes over a replica that is slow to say how busy it is, so a few may stray."""
    astray, without = await redis_hits(three, headed=True), await redis_hits(three, headed=False)
    assert without > PROMPTS * len(RUBRIC) / 2
    assert astray <= without / 5


async def test_a_prompt_that_is_asked_too_much_is_shared_out(three: Nodes) -> None:
    """More at once than one replica should hold beside idle ones: some go to the next, and most stay."""
    served = 'rubricd_requests_total{route="/v1/score",status="200"}'
    before = await asyncio.to_thread(total, three, served)
    bodies = [about(f"Asked at {time.monotonic_ns()}.", f"Rest it {n:3} times.") for n in range(MANY)]
    header = known_by(bodies[0])
    async with client(three) as asking:
        with three.held():
            first = asyncio.create_task(asking.post("/v1/score", json=bodies[0], headers=header))
            one = await _held(three, 1)
            others = [asyncio.create_task(asking.post("/v1/score", json=body, headers=header)) for body in bodies[1:]]
            await _held(three, 0.95 * MANY * one)
        answers = [await task for task in (first, *others)]
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    after = await asyncio.to_thread(total, three, served)
    shares = sorted(now - then for now, then in zip(after, before, strict=True))
    assert shares[1] >= 10
    assert shares[2] >= 45


async def _held(three: Nodes, tokens: float) -> float:
    """So many are in the queues and at the engines, or more."""
    until = time.monotonic() + WAIT_S
    while (found := sum([sum(await asyncio.to_thread(total, three, line)) for line in HOLDS])) < tokens:
        assert time.monotonic() < until
    return found


def test_every_replica_has_a_page_of_metrics_of_its_own(three: Nodes) -> None:
    three.until(lambda there: {replica.name for replica in there} == three.targets().keys())  # the dead are forgotten
    found = three.targets()
    assert len(set(found.values())) == 3
    pages = [httpx.get(f"http://{where}/metrics", timeout=HUNG_S).text for where in found.values()]
    assert all('rubricd_judge_info{engine="fake"' in page for page in pages)
    assert {httpx.get(f"http://{where}/v1/judge", timeout=HUNG_S).status_code for where in found.values()} == {404}

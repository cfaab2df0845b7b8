"""Everything that a panel can show, done to the services for a while: every mode and class, several teams, groups that
teach and groups that do not, work asked twice, refusals of every kind, and a Redis that answers nobody for a moment.

Guarantees: An answer that a dashboard's load does not expect ends it. Nothing here waits for luck.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from loadtests.dashboards.faulty import MAX_TOKENS
from loadtests.dashboards.hosts import FAULTY, LOCAL, METERED, TWIN, VLLM, Hosts
from miniature.world.cases import evaluation
from testkit import teams_file
from testkit.processes import Failed

EXPECTED = frozenset({200, 401, 422, 429, 499, 503})
REDIS_STOPPED_S = 4.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `deadline_ms` as in the contract."""

    service: str
    team: str | None
    body: dict[str, Any]
    path: str = "/v1/score"


class Load:
    """`seed` chooses what is asked; every text that is to be new has a number of its own."""

    def __init__(self, hosts: Hosts, seed: int = 7) -> None:
        self._hosts = hosts
        self._random = random.Random(seed)
        self._numbers = count(1)
        self.statuses: dict[int, int] = {}

    async def run(self, seconds: float) -> None:
        """Raises Failed for an answer that nobody expects."""
        until = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:

            async def every(period_s: float, calls: Callable[[], Sequence[Call]]) -> None:
                while time.monotonic() < until:
                    began = time.monotonic()
                    await asyncio.gather(*(self._send(client, call) for call in calls()))
                    await asyncio.sleep(max(0.0, began + period_s - time.monotonic()))

            await asyncio.gather(
                self._break_redis(seconds / 2),
                every(0.4, self._training),
                every(1.5, self._evaluating),
                every(0.5, self._asking),
                every(0.7, self._metered),
                every(1.0, self._elsewhere),
                every(0.6, self._faulty),
                every(3.0, self._overload),
                every(2.0, self._refused),
            )

    async def _send(self, client: httpx.AsyncClient, call: Call) -> None:
        url = self._hosts.services[call.service].url + call.path
        headers = {} if call.team is None else teams_file.auth(call.team)
        try:
            answer = await client.post(url, json=call.body, headers=headers)
        except httpx.HTTPError as error:
            raise Failed(f"{call.service} did not answer {call.path}: {error!r}") from error
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        if answer.status_code not in EXPECTED:
            raise Failed(f"{call.service} answered {answer.status_code} to {call.path}: {answer.text[:300]}")

    async def _break_redis(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._hosts.redis.stop()
        await asyncio.sleep(REDIS_STOPPED_S)
        self._hosts.redis.cont()

    def _training(self) -> list[Call]:
        """A step's groups: mostly new, some asked before, one of equal answers, one asked by two at a time."""
        groups = [self._group(next(self._numbers)), self._group(self._random.randrange(8))]
        groups.append({**groups[0], "responses": [groups[0]["responses"][0]] * 4})
        calls = [Call(LOCAL, "medicine", {"items": [group]}) for group in groups]
        return [*calls, calls[0], Call(VLLM, "medicine", {"items": groups[:1]})]

    def _evaluating(self) -> list[Call]:
        items = [evaluation(97, self._random.randrange(400)).wire for _ in range(24)]
        return [Call(LOCAL, "science", {"items": items, "priority": "eval"})]

    def _asking(self) -> list[Call]:
        """Somebody at the playground, who also asks whether it is false; and ratings, of which vLLM computes two
        passes."""
        wire = evaluation(98, next(self._numbers)).wire
        asked = {"items": [wire], "priority": "interactive"}
        both = {**asked, "consistency": 2}
        rated = {"items": [{**wire, "rubric": wire["rubric"]["criteria"][:2]}], "mode": "implicit"}
        return [Call(LOCAL, "writing", both), Call(VLLM, "writing", asked), Call(VLLM, "science", rated)]

    def _metered(self) -> list[Call]:
        """More than its quota allows, with a rule that needs a process."""
        number = {"text": "Says a number.", "points": 2, "verifier": {"rule": "regex", "pattern": "[0-9]+"}}
        groups = [self._group(next(self._numbers)) for _ in range(2)]
        return [Call(LOCAL, METERED, {"items": [group | {"rubric": [*group["rubric"], number]}]}) for group in groups]

    def _elsewhere(self) -> list[Call]:
        """Other trainers' routes; what was not judged is told as neutral."""
        rubric = [{"text": f"Says point {n}.", "points": 1} for n in range(12)]
        body = {"prompt": "Say it.", "response": f"I say {next(self._numbers)}.", "label": {"rubric": rubric}}
        return [Call(FAULTY, "writing", body, path="/rm?reply=object") for _ in range(2)]

    def _faulty(self) -> list[Call]:
        """Work of every kind for judges that fail, the same for both twins; deadlines too short, prompts too long,
        rules that cannot decide."""
        number = next(self._numbers)
        item = self._item(number)
        rules = [
            {"text": "Says a number.", "points": 2, "verifier": {"rule": "regex", "pattern": "[0-9]+"}},
            {"text": "Is JSON.", "points": 1, "verifier": {"rule": "json_schema", "schema": {"type": 12}}},
        ]
        long = {**item, "response": f"{number} " + "word " * MAX_TOKENS}
        shared = {"items": [item], "mode": self._random.choice(["verdict", "reasoned", "implicit", "likert"])}
        pair = {"prompt": item["prompt"], "a": item["response"], "b": "No answer."}
        return [
            Call(FAULTY, "science", {"items": [pair]}, path="/v1/compare"),
            Call(FAULTY, "science", shared),
            Call(TWIN, "science", shared),
            Call(FAULTY, "medicine", {"items": [{**item, "rubric": rules}]}),
            Call(FAULTY, "writing", {"items": [long]}),
            Call(FAULTY, "writing", {"items": [{**item, "prompt": "In time."}], "deadline_ms": 15}),
            Call(TWIN, "medicine", {"items": [{**self._group(number), "rubric": item["rubric"]}]}),
        ]

    def _overload(self) -> list[Call]:
        """A burst of which the queue holds a part."""
        return [
            Call(
                FAULTY,
                self._random.choice(["medicine", "science", "writing"]),
                {"items": [self._item(next(self._numbers))]},
            )
            for _ in range(60)
        ]

    def _refused(self) -> list[Call]:
        """No key; a body that says nothing."""
        return [Call(LOCAL, None, {"items": [self._item(1)]}), Call(LOCAL, "science", {"items": []})]

    def _item(self, number: int) -> dict[str, Any]:
        rubric = [{"text": f"Says what point {n} of {number} says.", "points": 1} for n in range(8)]
        return {"prompt": f"Question {number}?", "response": f"Answer {number}. " * 40, "rubric": rubric}

    def _group(self, number: int) -> dict[str, Any]:
        """Four answers to one prompt of the judge's own world, with a rubric that they share."""
        cases = [evaluation(number, index) for index in range(4)]
        rubric = [{"id": c.id, "text": c.text, "points": c.points} for c in cases[0].criteria]
        responses = [f"{case.response} ({number})" for case in cases]
        return {"prompt": cases[0].turns[-1][1], "responses": responses, "rubric": rubric}

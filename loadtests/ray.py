"""Measures what it saves to keep a prompt's calls together: prompt tokens computed, with and without the client's
header.

Ray Serve in this machine, two nodes, three replicas of engine `local` with the bundled judge. Each member of a group is
a call of its own, all at once in any order, as rollouts end. The replicas count what they computed and what they shared
with another question; time is not looked at. Rounds with and without the header alternate, each with fresh prompts.

    python -m loadtests.ray [--groups 40] [--members 8] [--rounds 3]
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from testkit.ray.nodes import Nodes, client, nodes
from trainer_client import wire
from trainer_client.http.headers import HEADER, affinity

CALLERS = 64
CRITERIA = 4
_COUNTS = ('rubricd_prompt_tokens_total{kind="computed"}', 'rubricd_prompt_tokens_total{source="shared"}')


@dataclass(frozen=True, slots=True)
class Figures:
    """In tokens, over all replicas."""

    computed: float
    shared: float

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.computed + other.computed, self.shared + other.shared)

    @property
    def line(self) -> str:
        hit = self.shared / (self.computed + self.shared)
        return f"{self.computed:>10,.0f} computed {self.shared:>10,.0f} shared, {hit:.1%} of all"


def bodies(groups: int, members: int, round: int) -> list[dict[str, Any]]:
    """Conversations of some hundred tokens, each member's response short, as in the miniature world."""
    rng = random.Random(round)
    found = []
    for group in range(groups):
        talk = " ".join(f"I have had a stiff neck for {rng.randrange(1000)} days." for _ in range(24))
        prompt = f"{round} {group}. {talk} What should I do?"
        rubric = [{"text": f"Tells the user to rest for {n} days.", "points": 1} for n in range(CRITERIA)]
        found += [
            {"items": [{"prompt": prompt, "response": f"Rest for {member} days.", "rubric": rubric}]}
            for member in range(members)
        ]
    rng.shuffle(found)
    return found


async def measured(there: Nodes, asked: list[dict[str, Any]], headed: bool) -> Figures:
    before = await asyncio.to_thread(_counted, there)
    places = asyncio.Semaphore(CALLERS)

    async def ask(asking: httpx.AsyncClient, body: dict[str, Any]) -> None:
        known_by = affinity([wire.Item.model_validate(one) for one in body["items"]], None)
        headers = {HEADER: known_by} if headed and known_by is not None else {}
        async with places:
            answer = await asking.post("/v1/score", json=body, headers=headers)
        answer.raise_for_status()

    async with client(there) as asking:
        await asyncio.gather(*(ask(asking, body) for body in asked))
    after = await asyncio.to_thread(_counted, there)
    return Figures(after.computed - before.computed, after.shared - before.shared)


def _counted(there: Nodes) -> Figures:
    return Figures(*(sum(there.metric(one, line) for one in there.replicas()) for line in _COUNTS))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.ray", description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    sums = {True: Figures(0, 0), False: Figures(0, 0)}
    with nodes(RUBRICD_ENGINE="local") as there:
        there.deploy(replicas=3)
        for round in range(2 * args.rounds):
            headed = round % 2 == 0
            found = asyncio.run(measured(there, bodies(args.groups, args.members, round), headed))
            sums[headed] += found
            print(f"round {round}  {'with   ' if headed else 'without'} the header: {found.line}", flush=True)
    for headed, total in sums.items():
        print(f"all      {'with   ' if headed else 'without'} the header: {total.line}")
    print(f"computed with the header / without: {sums[True].computed / sums[False].computed:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Tests of joining: each candidate once, failures end everything, and what criteria candidates keep."""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from service.judges.joining import Part, joined, shares, total
from service.rubrics.judgement import Judgement
from service.scoring.request import Usage
from testkit.waiting import until
from tests.service.judges.engines import candidate

YES = Judgement("ok", "judge", met=True, p=1.0)


class Scripted:
    """Gives candidates in this order, each when its event is set; then fails, if it has an error."""

    def __init__(self, order: Sequence[int], error: Exception | None = None) -> None:
        self.usage = Usage(judgements=1)
        self.order = order
        self.error = error
        self.gates = {k: asyncio.Event() for k in order}
        self.ended = False

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        try:
            for k in self.order:
                await self.gates[k].wait()
                yield k, [YES]
            if self.error is not None:
                raise self.error
        finally:
            self.ended = True

    def close(self) -> None:
        raise AssertionError("who started it closes it")

    def open(self) -> "Scripted":
        for gate in self.gates.values():
            gate.set()
        return self


async def test_a_candidate_comes_when_the_last_of_its_parts_has_it() -> None:
    first, second = Scripted([0, 1]), Scripted([0])
    found: list[tuple[int, set[int]]] = []

    async def listen() -> None:
        async for i, by_part in joined([Part(first, [0, 2]), Part(second, [2])], 4):
            found.append((i, set(by_part)))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    first.open()
    await until(lambda: len(found) == 3)
    assert found == [(1, set()), (3, set()), (0, {0})], "candidate 2 waits for the other part"
    second.open()
    await listening
    assert found[3:] == [(2, {0, 1})]


async def test_a_part_that_fails_ends_all_of_them() -> None:
    slow, failing = Scripted([0]), Scripted([], RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        async for _ in joined([Part(slow, [0]), Part(failing, [0])], 1):
            raise AssertionError("nothing is whole")
    assert slow.ended and failing.ended


async def test_nothing_runs_on_when_nobody_listens_any_more() -> None:
    parts = [Scripted([0, 1]).open(), Scripted([1, 0]).open()]
    async with aclosing(joined([Part(one, [0, 1]) for one in parts], 2)) as found:
        async for _ in found:
            break
    assert [one.ended for one in parts] == [True, True]


async def test_a_part_that_ends_early_is_no_hang() -> None:
    parts = [Scripted([0]).open(), Scripted([0, 1]).open()]
    assert [i async for i, _ in joined([Part(one, [0, 1]) for one in parts], 2)] == [0]


def test_shares_keep_what_candidates_share() -> None:
    asked = candidate()
    others = [replace(asked, id=str(n)) for n in range(3)]
    found, of = shares(others, [[0, 2], [], [0, 2]])
    assert of == [0, 2] and found[0].criteria is found[1].criteria
    assert [one.id for one in found[0].criteria] == ["0", "2"]
    whole, _ = shares(others, [[0, 1, 2, 3]] * 3)
    assert all(one is other for one, other in zip(whole, others, strict=True))


def test_usage_is_added_and_waiting_is_not() -> None:
    a = Usage(1, 2, 3, 4, 5, 6, 7, 8, render_s=1.0, queue_s=2.0, engine_s=5.0)
    b = Usage(10, 20, 30, 40, 50, 60, 70, 80, render_s=2.0, queue_s=3.0, engine_s=4.0)
    assert total([a, b]) == Usage(11, 22, 33, 44, 55, 66, 77, 88, render_s=3.0, queue_s=3.0, engine_s=5.0)
    assert total([]) == Usage()


def test_a_sum_of_money_is_whole_or_there_is_none() -> None:
    """2,000 panels of 1 to 5 members, of which each was asked up to 3 criteria: no part of a sum looks like it all."""
    rng = random.Random(0)
    whole = 0
    for _ in range(2_000):
        answers = [
            [rng.choice([0.25, 0.5, 0.5, None]) for _ in range(rng.randrange(4))] for _ in range(rng.randint(1, 5))
        ]
        usages = []
        for of_one in answers:
            usages.append(Usage(judgements=len(of_one), unpriced=len(of_one)))
            for cost in of_one:
                usages[-1].pay(cost)
        flat = [cost for of_one in answers for cost in of_one]
        expected = math.fsum(cost for cost in flat if cost is not None) if flat and None not in flat else None
        whole += expected is not None
        assert total(usages).cost == expected, answers
    assert 300 < whole < 1_700

"""Idempotency keys, over two replicas on a real Redis."""

import asyncio
import random

import pytest

from service import idempotency
from service.clock import ManualClock
from service.errors import KeyReused, StillRunning
from service.idempotency import Stored
from testkit.waiting import HUNG_S
from tests.service.tenancy.on_redis import idempotency_store


async def test_1000_keys_5_times_with_a_kill(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_MARK_S", 3.0)
    keys, wrong, chance = [f"key-{n}" for n in range(1000)], 0, random.Random(6)
    async with idempotency_store(redis_url, ManualClock()) as both:
        for key in keys:
            begun = [both[n % 2].begin("a", key, b"x") for n in range(5)]
            answers = await asyncio.gather(*begun, return_exceptions=True)
            runners = [one for one in answers if not isinstance(one, BaseException | Stored)]
            wrong += len(runners) != 1 or sum(isinstance(one, StillRunning) for one in answers) != 4
            if int(key[4:]) % 3:
                await runners[0].finish(key.encode() * 50)
        bodies = {}
        async with asyncio.timeout(HUNG_S):
            for key in keys:
                while True:
                    try:
                        found = await chance.choice(both).begin("a", key, b"x")
                        break
                    except StillRunning:
                        await asyncio.sleep(0.05)
                if not isinstance(found, Stored):
                    await found.finish(key.encode() * 50)
        for key in keys:
            found = await both[1].begin("a", key, b"x")
            assert isinstance(found, Stored)
            bodies[key] = found.body
        reused = await asyncio.gather(*(both[0].begin("a", key, b"y") for key in keys), return_exceptions=True)
    assert wrong == 0
    assert sum(bodies[key] == key.encode() * 50 for key in keys) == 1000
    assert sum(isinstance(one, KeyReused) for one in reused) == 1000

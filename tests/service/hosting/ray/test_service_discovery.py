"""A replica's metrics on a port of its own."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from service.clock import ManualClock
from service.hosting.ray import service_discovery
from service.hosting.ray.service_discovery import TargetRegistry, serve_metrics
from testkit.waiting import HUNG_S


async def test_a_replica_that_does_not_register_again_is_forgotten() -> None:
    clock = ManualClock()
    registry = TargetRegistry(clock)
    registry.register("a", "10.0.0.1:8")
    await clock.advance(10.0)
    registry.register("b", "10.0.0.2:9")
    registry.register("b", "10.0.0.2:10")
    assert registry.targets() == {"a": "10.0.0.1:8", "b": "10.0.0.2:10"}
    await clock.advance(5.1)
    assert registry.targets() == {"b": "10.0.0.2:10"}


async def test_the_port_serves_metrics_and_nothing_else_and_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_discovery, "_REGISTER_EVERY_S", 0.01)
    told: asyncio.Queue[str] = asyncio.Queue()
    failures = iter([ConnectionError(), RuntimeError()])

    async def tell(where: str) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        told.put_nowait(where)

    app = PlainTextResponse("one 1\n")
    async with httpx.AsyncClient(timeout=HUNG_S) as client:
        async with serve_metrics(app, "127.0.0.1", tell):
            where = await asyncio.wait_for(told.get(), HUNG_S)
            assert where == await asyncio.wait_for(told.get(), HUNG_S)
            assert (await client.get(f"http://{where}/metrics")).text == "one 1\n"
            assert (await client.get(f"http://{where}/v1/judge")).status_code == 404
            assert (await client.post(f"http://{where}/v1/score")).status_code == 404
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{where}/metrics")

"""The stream of what a process does: who sees it, how many at once, what it holds and when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp

from service.api.live import MOST_LISTENERS
from service.app import lifecycle_of, metrics_of, telemetry_of
from service.clock import ManualClock
from testkit.apps import app_of, fake_settings, item, serving
from testkit.waiting import until

KEY = "sixteen-letters-or-more"


class Listener:
    """One page that listens, through ASGI itself: httpx would wait for the stream's end."""

    def __init__(self, app: ASGIApp, key: str | None, method: str) -> None:
        headers = [(b"host", b"127.0.0.1")] + ([(b"authorization", f"Bearer {key}".encode())] if key else [])
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
        }
        self.scope |= {"path": "/v1/live", "raw_path": b"/v1/live", "query_string": b"", "headers": headers}
        self.scope |= {"scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": ""}
        self.status = 0
        self.body = b""
        self.gone = asyncio.Event()
        self.task = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(part.removeprefix(b"data: ")) for part in self.body.split(b"\n\n") if part]

    async def until(self, true: Callable[[], bool]) -> None:
        try:
            await until(true)
        except AssertionError as error:
            raise AssertionError((self.status, self.body)) from error


@asynccontextmanager
async def listening(app: ASGIApp, key: str | None = None, method: str = "GET") -> AsyncIterator[Listener]:
    listener = Listener(app, key, method)
    try:
        await listener.until(lambda: bool(listener.status and listener.body) or listener.task.done())
        yield listener
    finally:
        listener.gone.set()
        await listener.task


async def test_a_listener_sees_the_state_and_what_was_judged() -> None:
    clock = ManualClock()
    async with serving(clock=clock) as client:
        async with listening(app_of(client)) as page:
            assert (page.status, page.events[0]["state"], page.events[0]["why"]) == (200, "ready", None)
            assert "rubricd_items_total" not in page.events[0]["metrics"]
            assert (await client.post("/v1/score", json=item())).status_code == 200
            await clock.advance(1.0)
            await page.until(lambda: len(page.events) == 2)
        now = page.events[1]["metrics"]
    assert now["rubricd_items_total"] == [[{"team": "default", "status": "ok"}, 1.0]]
    assert now["rubricd_judge_info"][0][0]["engine"] == "fake"
    assert now["rubricd_queue_limit_tokens"][0][1] > 0
    assert "Says to rest." not in page.body.decode()


async def test_several_listeners_share_a_reading_and_nobody_reads_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, readings = ManualClock(), 0
    async with serving(clock=clock) as client:
        telemetry = telemetry_of(app_of(client))
        read = telemetry.samples

        def counted(names: Any) -> Any:
            nonlocal readings
            readings += 1
            return read(names)

        monkeypatch.setattr(telemetry, "samples", counted)
        await clock.advance(10.0)
        assert readings == 0
        async with listening(app_of(client)) as one, listening(app_of(client)) as two:
            assert readings == 1
            await clock.advance(1.0)
            await two.until(lambda: len(one.events) == len(two.events) == 2)
            assert readings == 2
        await clock.advance(10.0)
        assert readings == 2


async def test_there_are_so_many_listeners_and_a_place_becomes_free_again() -> None:
    async with serving(clock=ManualClock()) as client:
        app = app_of(client)
        pages = [Listener(app, None, "GET") for _ in range(MOST_LISTENERS)]
        for page in pages:
            await page.until(lambda page=page: page.status == 200)  # type: ignore[misc]
        async with listening(app) as one_more:
            assert one_more.status == 503 and b"pages listen already; close one" in one_more.body
        for page in pages:
            page.gone.set()
        await asyncio.gather(*(page.task for page in pages))
        async with listening(app) as again:
            assert again.status == 200


async def test_who_may_not_see_the_metrics_may_not_see_this() -> None:
    settings = fake_settings(metrics_key=KEY)
    async with (
        serving(settings=settings, clock=ManualClock()) as client,
        listening(app_of(client)) as nobody,
        listening(app_of(client), KEY) as somebody,
    ):
        assert (nobody.status, somebody.status) == (401, 200)
        assert b"metrics_key" in nobody.body


async def test_a_head_ends_after_its_headers() -> None:
    async with serving(clock=ManualClock()) as client:
        async with listening(app_of(client), method="HEAD") as page:
            await page.until(page.task.done)
        assert (page.status, page.body) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_where_metrics_have_a_port_the_stream_is_there(method: str) -> None:
    settings = fake_settings(metrics_port=0, metrics_key=KEY)
    async with serving(settings=settings, clock=ManualClock()) as client:
        metrics = metrics_of(app_of(client))
        async with listening(metrics) as nobody, listening(metrics, KEY, method) as somebody:
            assert (nobody.status, somebody.status) == (401, 200)
            if method == "HEAD":
                await somebody.until(somebody.task.done)
            else:
                assert somebody.events[0]["state"] == "ready"


async def test_the_stream_ends_when_the_service_shuts_down() -> None:
    clock = ManualClock()
    async with serving(clock=clock) as client:
        async with listening(app_of(client)) as page:
            lifecycle_of(app_of(client)).drain()
            await clock.advance(1.0)
            await page.until(page.task.done)
        assert page.events[-1]["state"] in ("draining", "stopped")


async def test_two_processes_are_known_apart_where_their_numbers_are_equal() -> None:
    """In containers every process has the same number."""
    found = []
    for _ in range(2):
        async with serving(clock=ManualClock()) as client, listening(app_of(client)) as page:
            found.append(page.events[0])
    one, other = found
    assert (one["process"], one["host"]) == (other["process"], other["host"])
    assert one["instance"] != other["instance"]

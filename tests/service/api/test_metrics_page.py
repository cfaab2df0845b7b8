"""Tests of `/metrics`: on the service's port or on its own, with a key or without."""

import httpx

from service.app import create_app, metrics_of
from testkit.apps import client_of, fake_settings, serving, started

KEY = "prometheus-reads-this"


async def test_without_settings_the_service_serves_it() -> None:
    async with serving() as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200 and "rubricd_ready 1.0" in answer.text


async def test_with_a_key_it_is_shown_to_who_sends_it() -> None:
    async with serving(settings=fake_settings(metrics_key=KEY)) as client:
        right = await client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
        assert right.status_code == 200
        for sent in ("", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer é"):
            wrong = await client.get("/metrics", headers={b"Authorization": sent.encode()})
            assert wrong.status_code == 401 and "rubricd_ready" not in wrong.text
            assert wrong.json()["request_id"] == wrong.headers["x-request-id"]


async def test_with_a_port_of_its_own_it_is_not_on_the_services() -> None:
    app = create_app(fake_settings(metrics_port=0, metrics_key=KEY))
    async with started(app), client_of(app) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert "/metrics" not in (await client.get("/openapi.json")).json()["paths"]
        transport = httpx.ASGITransport(app=metrics_of(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.1:9100") as own:
            key = {"Authorization": f"Bearer {KEY}"}
            assert "rubricd_open_connections" in (await own.get("/metrics", headers=key)).text
            assert (await own.head("/metrics", headers=key)).status_code == 200
            assert (await own.get("/metrics")).status_code == 401
            assert (await own.get("/v1/judge", headers=key)).status_code == 404

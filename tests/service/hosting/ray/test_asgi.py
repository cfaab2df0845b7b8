"""What stands around the app in a replica."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from service.app import create_app
from service.engine.fake import FakeEngine
from service.hosting.ray.asgi import ReplicaApp
from testkit.apps import fake_settings, started
from testkit.apps import serving as serving_app

ID = str(uuid.UUID(int=7))


async def _targets() -> dict[str, str]:
    return {"b": "10.0.0.2:9", "a": "10.0.0.1:8"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(fake_settings())
    async with started(app):
        transport = httpx.ASGITransport(app=ReplicaApp(app, _targets))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def test_the_app_takes_the_proxys_id_and_the_proxy_tells_it(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/score", json={}, headers={"X-Request-Id": ID})
    assert answer.json()["request_id"] == ID
    assert "x-request-id" not in answer.headers  # Ray's proxy adds it


@pytest.mark.parametrize("odd", ["mine", "a" * 33, ID + "\tx", "", ID.replace("-", "--")])
async def test_an_id_that_is_no_uuid_never_becomes_the_apps(client: httpx.AsyncClient, odd: str) -> None:
    answer = await client.post("/v1/score", json={}, headers={"X-Request-Id": odd})
    assert answer.json()["request_id"] == answer.headers["x-request-id"] != odd


async def test_prometheus_is_told_where_every_replica_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metrics/targets")).json() == [
        {"targets": ["10.0.0.1:8"], "labels": {"replica": "a"}},
        {"targets": ["10.0.0.2:9"], "labels": {"replica": "b"}},
    ]


async def test_everything_else_is_the_apps(client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz")).status_code == 200
    async with serving_app(FakeEngine()) as bare:
        assert (await client.get("/nope")).json()["title"] == (await bare.get("/nope")).json()["title"]
